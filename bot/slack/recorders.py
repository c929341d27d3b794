"""What Slack says of a person who wants to record, within the time that an answer has."""

import asyncio
import time
from dataclasses import replace

import structlog

from bot.activities.recent import Person
from bot.installations.access import Installations, NotInstalled, token_of
from bot.slack.lookups import Lookups
from bot.slack.roles import Role, role_of
from bot.slack.web import Done, Never, NotNow, Result, SlackWeb
from bot.tenants.rules import Kind, Recorder

_log = structlog.get_logger(__name__)

KIND_WITHIN, GROUP_WITHIN = 1.5, 0.3
"""Seconds that a request waits for Slack's word on a person, and on a group.

What this takes, the database has less (`Recorder.waited`), so that all of it is within Slack's 3 s.
The lookup itself goes on, so the next try finds its answer.
"""

LOOK_WITHIN = 5.0
"""Seconds for a lookup that no request waits for any more."""

LASTS = {Kind.MEMBER: 300.0, Kind.GUEST: 60.0, Kind.STRANGER: 60.0, Kind.UNTOLD: 30.0}
"""Seconds for which Slack's word on a person counts; 1 s where it did not answer."""

GROUP_LASTS, NO_GROUP_LASTS = 120.0, 10.0

_UNKNOWN_PEOPLE = frozenset({"user_not_found", "user_not_visible", "users_not_visible"})
"""Slack's words for a person whom the workspace does not see."""

_MAY_NOT_ASK = frozenset({"missing_scope", "no_permission", "not_allowed_token_type"})
"""Slack's words for a question that the app may not ask, until an admin changes that."""


class SlackRecorders:
    """Asks Slack for each person and each group once at a time, and remembers for minutes."""

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations
        self._kinds: Lookups[Person, Kind] = Lookups(lambda kind: LASTS.get(kind, 1.0))
        # A group's people; or Kind.UNTOLD or Kind.AWAY.
        self._groups: Lookups[tuple[str, str], frozenset[str] | Kind] = Lookups(
            lambda found: NO_GROUP_LASTS if isinstance(found, Kind) else GROUP_LASTS
        )

    def begin(self, person: Person) -> None:
        """Ask about a person already, without waiting."""
        if self._kinds.known(person) is None:
            self._kinds.begin(person, lambda: self._ask(person))

    async def recorder(self, person: Person) -> Recorder:
        """Return what Slack says of a person."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(KIND_WITHIN):
                kind = await self._kinds.get(person, lambda: self._ask(person))
        except TimeoutError:
            kind = Kind.AWAY
        return Recorder(kind, waited=time.monotonic() - began)

    async def with_group(self, person: Person, recorder: Recorder, group_id: str) -> Recorder:
        """Add whether the person is in a group."""
        found: frozenset[str] | Kind
        began = time.monotonic()
        try:
            async with asyncio.timeout(GROUP_WITHIN):
                found = await self._groups.get(
                    (person.team_id, group_id), lambda: self._ask_for_group(person, group_id)
                )
        except TimeoutError:
            found = Kind.AWAY
        recorder = replace(recorder, waited=recorder.waited + time.monotonic() - began)
        one = frozenset({group_id})
        match found:
            case Kind.AWAY:
                return replace(recorder, away=one)
            case Kind():
                return replace(recorder, untold=one)
            case people if person.user_id in people:
                return replace(recorder, groups=one)
            case _:
                return replace(recorder, not_in=one)

    async def close(self) -> None:
        await self._kinds.close()
        await self._groups.close()

    async def _ask(self, person: Person) -> Kind:
        match self._installations.access(person.enterprise_id, person.team_id):
            case NotInstalled(by_oauth=False):
                # SLACK_BOT_TOKEN is another workspace's, so Slack would say nothing of this
                # person. That an admin has mapped the workspace all the same lets its people in.
                return Kind.MEMBER
        found = await self._read(person, "users.info", user=person.user_id)
        if not isinstance(found, Done):
            if isinstance(found, Never) and found.error in _UNKNOWN_PEOPLE:
                return Kind.STRANGER
            _log.warning("person_unknown", reason=_reason(found))
            says_no = isinstance(found, Never) and found.error in _MAY_NOT_ASK
            return Kind.UNTOLD if says_no else Kind.AWAY
        # Slack marks guests and strangers. A person without a mark is a member.
        user = found.data.get("user")
        user = user if isinstance(user, dict) else {}
        if user.get("deleted") is True:
            return Kind.STRANGER
        return kind_of(role_of(user, person.enterprise_id, person.team_id))

    async def _ask_for_group(self, person: Person, group_id: str) -> frozenset[str] | Kind:
        found = await self._read(
            person, "usergroups.users.list", usergroup=group_id, team_id=person.team_id
        )
        if not isinstance(found, Done):
            _log.warning("group_unknown", reason=_reason(found))
            return Kind.AWAY if isinstance(found, NotNow) else Kind.UNTOLD
        people = found.data.get("users")
        return frozenset(map(str, people)) if isinstance(people, list) else Kind.UNTOLD

    async def _read(self, person: Person, method: str, **asked: str) -> Result:
        token = token_of(self._installations.access(person.enterprise_id, person.team_id))
        if token is None:
            return NotNow("no_bot_token")
        return await self._web.read(token, method, timeout=LOOK_WITHIN, **asked)


def _reason(found: NotNow | Never) -> str:
    return found.reason if isinstance(found, NotNow) else found.error


def kind_of(role: Role) -> Kind:
    """Say what a person with this role is, for the question who may record."""
    if role.is_stranger:
        return Kind.STRANGER
    return Kind.GUEST if role.is_guest else Kind.MEMBER
