"""python -m bot keys: the secrets that encrypt what is stored."""

import sys

import typer

from bot.admin.shared import fail, settings_or_exit, with_database

keys_app = typer.Typer(help="The secrets that encrypt what is stored.", no_args_is_help=True)


@keys_app.command(
    "rotate",
    help="Re-encrypt every stored value with the first of ENCRYPTION_KEYS, while the bot runs. "
    "You can repeat it.",
)
def rotate() -> None:
    from bot.admin.rotation import by_hand, problems_of, renew_all, summary
    from bot.keys import generated_secret

    settings = settings_or_exit()
    if not settings.encryption_keys:
        fail(by_hand(generated_secret(settings)))
    rotation = with_database(settings, renew_all)
    print("\n".join(summary(rotation, len(settings.encryption_keys))))
    problems = problems_of(rotation, generated_secret(settings))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)
