"""How much of LeadSquared's budget was used, from the moments at which calls arrived. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

WINDOW = 5.0


def most_in_a_window(arrivals: Sequence[float]) -> int:
    """Return the most calls that arrived in any window, wherever it begins."""
    most, first = 0, 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


def in_full_windows(arrivals: Sequence[float]) -> list[int]:
    """Count the calls in each whole window between the first call and the end of the work."""
    begin = arrivals[0]
    windows = int((arrivals[-1] - begin) // WINDOW)
    edges = [begin + WINDOW * number for number in range(windows + 1)]
    return [sum(start <= at < end for at in arrivals) for start, end in pairwise(edges)]


def share_of_windows(arrivals: Sequence[float], calls: int) -> float:
    """Return which part of `calls` a window was used, over all full windows."""
    return mean(in_full_windows(arrivals)) / calls


def sustained_share(arrivals: Sequence[float], calls: int) -> float:
    """Return which part of `calls` a window is used as it goes on.

    From the middle of the first windowful to that of the last.

    Unlike whole windows, this also sees that each windowful comes a little later than 5 s after
    the one before.
    """
    first, last = arrivals[:calls], arrivals[-calls:]
    return (len(arrivals) - calls) * WINDOW / (mean(last) - mean(first)) / calls


def possible_share(on_the_way: float) -> float:
    """Return the share that is certain when calls are `on_the_way` for a mean number of seconds.

    A sender knows only that a call arrived between the call's start and its answer. A slot
    that is given away again earlier than a window after the answer may be one too many. So a slot
    goes round in a window and a call's whole way.
    """
    return WINDOW / (WINDOW + on_the_way)
