"""A person's role in a workspace, as users.info has it."""

from typing import Any

import pytest

from bot.slack.roles import Role, role_of

ADMIN = Role(is_admin=True, is_guest=False, is_stranger=False)
MEMBER = Role(is_admin=False, is_guest=False, is_stranger=False)
GUEST = Role(is_admin=False, is_guest=True, is_stranger=False)
STRANGER = Role(is_admin=False, is_guest=False, is_stranger=True)


@pytest.mark.parametrize(
    ("user", "role"),
    [
        ({"team_id": "T1"}, MEMBER),
        ({}, MEMBER),
        ({"team_id": "T1", "is_admin": True}, ADMIN),
        ({"team_id": "T1", "is_owner": True}, ADMIN),
        ({"team_id": "T1", "is_primary_owner": True}, ADMIN),
        ({"team_id": "T1", "is_admin": "true"}, MEMBER),
        ({"team_id": "T1", "is_restricted": True}, GUEST),
        ({"team_id": "T1", "is_ultra_restricted": True}, GUEST),
        ({"team_id": "T1", "is_stranger": True}, STRANGER),
        ({"team_id": "T9", "is_admin": True}, STRANGER),
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1"}}, MEMBER),
        ({"team_id": "T2", "is_admin": True, "enterprise_user": {"enterprise_id": "E1"}}, MEMBER),
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1", "is_admin": True}}, ADMIN),
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E2", "is_admin": True}}, STRANGER),
    ],
)
def test_a_role_counts_in_its_own_workspace_only(user: dict[str, Any], role: Role) -> None:
    assert role_of(user, "E1", "T1") == role
