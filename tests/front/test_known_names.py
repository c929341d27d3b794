"""Names of people, groups and channels, asked of Slack."""

from bot.slack.names import SlackNames
from support.running import TEAM, Bot


async def test_a_name_is_asked_for_once(bot: Bot) -> None:
    names = SlackNames(bot.parts.web, bot.single)
    for _ in range(2):
        assert await names.names(
            None, TEAM, ["U0BEN", "S0HELP", "C0OTHER", "U0NOBODY", "S0NONE"]
        ) == {
            "U0BEN": "Ben",
            "S0HELP": "helpdesk",
            "C0OTHER": "other",
        }
    asked = [
        str(arguments.get("user") or arguments.get("channel"))
        for _, arguments in bot.slack.workspace.calls
    ]
    assert asked.count("U0BEN") == asked.count("C0OTHER") == 1
