"""Which mappings a process's Slack token reaches."""

import pytest

from bot.admin.unserved import unserved
from bot.installations.single import Identity
from bot.tenants.directory import Scope

ALONE = Identity("T1", None, is_enterprise_install=False)


MEMBER = Identity("T1", "E1", is_enterprise_install=False)


ORGANISATION = Identity(None, "E1", is_enterprise_install=True)


@pytest.mark.parametrize(
    ("identity", "scope"),
    [
        (ALONE, Scope(team_id="T1")),
        (ALONE, Scope(team_id="T1", channel_id="C1")),
        (MEMBER, Scope(enterprise_id="E1")),
        (MEMBER, Scope(enterprise_id="E1", team_id="T1")),
        (ORGANISATION, Scope(enterprise_id="E1")),
        (ORGANISATION, Scope(enterprise_id="E1", team_id="T2")),
        (ORGANISATION, Scope(team_id="T2")),  # it may be one of E1's
    ],
)
def test_a_mapping_that_a_token_reaches(identity: Identity, scope: Scope) -> None:
    assert unserved(identity, [scope]) == []


@pytest.mark.parametrize(
    ("identity", "scope"),
    [
        (ALONE, Scope(team_id="T2")),
        (ALONE, Scope(team_id="T2", channel_id="C1")),
        (ALONE, Scope(enterprise_id="E1")),
        (MEMBER, Scope(enterprise_id="E1", team_id="T2")),
        (MEMBER, Scope(enterprise_id="E2")),
        (ORGANISATION, Scope(enterprise_id="E2")),
    ],
)
def test_a_mapping_that_a_token_does_not_reach(identity: Identity, scope: Scope) -> None:
    assert unserved(identity, [scope]) == [scope]
