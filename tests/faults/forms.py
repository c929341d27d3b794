"""Every scenario has a short form, for `make test`, and a long one, for `make faults`."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

KINDS = ("sqlite", "postgresql")


def forms(names: str, *, short: Iterable[Any], long: Iterable[Any]) -> pytest.MarkDecorator:
    """Give a test parameters, with the values of either form.

    One each, or tuples where there are several names.
    """
    return pytest.mark.parametrize(
        names, [*_form("short", short), *_form("long", long, pytest.mark.faults)]
    )


def _form(form: str, values: Iterable[Any], *marks: pytest.MarkDecorator) -> Iterator[Any]:
    for value in values:
        each = value if isinstance(value, tuple) else (value,)
        yield pytest.param(*each, id="-".join([form, *map(str, each)]), marks=marks)
