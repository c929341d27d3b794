"""LeadSquared's limit, held against the calls that reached it."""

from bot.playground.leadsquared import Behaviour, Call, LeadSquaredStandIn


def numbered(leadsquared: LeadSquaredStandIn, count: int) -> list[str]:
    """Make so many tickets, all fine."""
    tickets = [str(5000 + number) for number in range(count)]
    leadsquared.tickets |= dict.fromkeys(tickets, Behaviour.FINE)
    return tickets


def assert_within_the_limit(calls: list[Call]) -> None:
    """Hold calls, in the order of their arrival, against 25 in any 5 seconds."""
    for first, last in zip(calls, calls[25:], strict=False):
        assert last.at - first.at >= 5, "26 calls in 5 seconds"
