"""Without PostgreSQL's programs a test that stops a server is skipped, and fails in CI."""

import pytest

from faults import server


@pytest.mark.parametrize(
    ("ci", "ends"), [(True, pytest.fail.Exception), (False, pytest.skip.Exception)]
)
def test_what_is_not_there_fails_in_ci_and_is_skipped_elsewhere(
    ci: bool,  # noqa: FBT001 - a parameter of the table
    ends: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", "1")
    monkeypatch.setattr(server, "_programs", lambda: None)
    with pytest.raises(ends, match="initdb"), server.own_server():
        pass
