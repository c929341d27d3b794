"""What stands in the stand-ins, as values by key: what a page shows. It reads and changes nothing.

Secrets are masked before they come here, but for what a person typed into an open form.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bot.playground.leadsquared import WINDOW, LeadSquaredStandIn
from bot.playground.open_modals import inputs
from bot.playground.page.stage import Stage
from bot.playground.scenes import NOTES
from bot.playground.slack import SlackStandIn
from bot.playground.terminal import ACCOUNTS, TICKETS
from bot.playground.traffic import shown
from bot.playground.workspace import Channel, Person, Posted, Workspace

Value = dict[str, Any]
BOT_NAME = "Portal Activity"
SLACKBOT = "USLACKBOT"
_SINCE_EPOCH = time.time() - time.monotonic()
"""What makes a moment of `time.monotonic` one that a browser knows."""


def values(stage: Stage) -> dict[str, Value]:
    """Return all that a page shows."""
    found: dict[str, Value] = {"bot": _program(stage), "slack": {"down": stage.slack.down}}
    for workspace in stage.slack.workspaces:
        found[f"workspace/{workspace.team_id}"] = _workspace(stage, workspace)
        found.update(_messages(stage.slack, workspace))
    for number, modal in enumerate(stage.slack.modals.open):
        found[f"modal/{modal['id']}"] = {
            "order": number,
            "view": modal,
            "values": _left(stage.slack, modal),
            "person": stage.slack.modals.opened_by.get(modal["id"]),
        }
    for person, view in stage.slack.homes.items():
        found[f"home/{person}"] = view
    for org_id, leadsquared in stage.accounts.items():
        found[f"account/{org_id}"] = _account(org_id, leadsquared, stage.faults[org_id])
    for exchange in stage.traffic.exchanges:
        found[f"exchange/{exchange.number}"] = asdict(exchange)
    for number, line in stage.program.log:
        found[f"log/{number}"] = {"number": number, "line": shown(line)}
    return found


def _program(stage: Stage) -> Value:
    program = stage.program
    return {"state": program.state, "transport": program.transport, "url": program.url}


def _workspace(stage: Stage, workspace: Workspace) -> Value:
    installed = stage.slack.oauth.serving(workspace) is not None
    account = ACCOUNTS.get(workspace.team_id)
    return {
        "id": workspace.team_id,
        "name": workspace.name,
        "enterprise": workspace.enterprise_id,
        "installed": installed,
        "org_id": account.org_id if account else None,
        "channels": [_channel(workspace, one) for one in workspace.channels.values()],
        "people": [_person(stage.slack, workspace, one) for one in workspace.people.values()],
        "groups": workspace.groups,
        "bot_user": workspace.bot_user,
    }


def _channel(workspace: Workspace, channel: Channel) -> Value:
    """Return a conversation, with who of another organisation is in it.

    That is everybody where it is shared, and who wrote there.
    """
    is_shared = getattr(channel, "is_ext_shared", False)
    wrote = {
        message.shape.get("user")
        for message in workspace.messages
        if message.channel == channel.id and message.shape
    }
    guests = [
        one.id
        for one in workspace.people.values()
        if one.team_id != workspace.team_id and (is_shared or one.id in wrote)
    ]
    return {
        "id": channel.id,
        "name": channel.name,
        "note": NOTES.get(channel.name, "").partition("; :")[0],  # a hint for the terminal
        "direct": channel.id.startswith("D"),
        "guests": guests,
    }


def _person(slack: SlackStandIn, workspace: Workspace, person: Person) -> Value:
    home = next((one for one in slack.workspaces if one.team_id == person.team_id), None)
    return {
        "id": person.id,
        "name": person.name,
        "team_id": person.team_id,
        "foreign": person.team_id != workspace.team_id,
        "role": _role(workspace, person, home),
    }


def _role(workspace: Workspace, person: Person, home: Workspace | None) -> str:
    if person.team_id != workspace.team_id:
        of = home.name if home else person.team_id.removeprefix("T0").capitalize()
        return f"customer from {of}"
    if person.is_restricted or person.is_ultra_restricted:
        return "guest"
    if person.is_admin or person.is_owner or person.is_primary_owner:
        return "admin"
    return "agent"


def _messages(slack: SlackStandIn, workspace: Workspace) -> Iterator[tuple[str, Value]]:
    for message in workspace.messages:
        yield key_of(message), _message(slack, workspace, message)


def key_of(message: Posted) -> str:
    return f"message/{message.channel}/{message.ts}"


def _message(slack: SlackStandIn, workspace: Workspace, message: Posted) -> Value:
    shape = message.shape or {}
    return {
        "team": workspace.team_id,
        "channel": message.channel,
        "ts": message.ts,
        "thread_ts": message.thread_ts,
        "only": message.ephemeral,
        "author": _author(slack, message, shape),
        "app": message.is_the_bots or "bot_id" in shape,
        "bot": message.is_the_bots,
        "text": message.text,
        "blocks": message.blocks,
        "attachments": shape.get("attachments", []),
        "files": shape.get("files", []),
        "reactions": list(getattr(message, "reactions", ())),
        "edited": bool(shape.get("edited")),
        "deleted": shape.get("subtype") == "tombstone",
    }


def _author(slack: SlackStandIn, message: Posted, shape: Value) -> str:
    if message.is_the_bots:
        return BOT_NAME
    if shape.get("user") == SLACKBOT:
        return "Slackbot"
    author = str(shape.get("user", ""))
    person = slack.with_person(author).people.get(author)
    return person.name if person else str(shape.get("username") or "Somebody")


def _left(slack: SlackStandIn, modal: Value) -> Value:
    """Return what stands in each input of a form, by block."""
    return {block_id: slack.modals.value(modal, block_id) for block_id in inputs(modal)}


def _account(org_id: str, leadsquared: LeadSquaredStandIn, fault: str) -> Value:
    account = leadsquared.accounts[org_id]
    team = next((team for team, one in ACCOUNTS.items() if one.org_id == org_id), "")
    tickets: dict[str, list[Value]] = {}
    for activity in leadsquared.ledger.activities:
        tickets.setdefault(activity.ticket_id, []).append(
            {"id": activity.id, "text": activity.text}
        )
    return {
        "org_id": org_id,
        "team": team,
        "url": leadsquared.url,
        # Made up: a person types them into the set-up form.
        "keys": {"access": account.access_key, "secret": account.secret_key},
        "fault": fault,
        "tickets": tickets,
        "exist": {number: says for number, (_, says) in TICKETS.items()},
        "calls": [round(at + _SINCE_EPOCH, 2) for at in leadsquared.arrivals(org_id)],
        "limit": leadsquared.calls_per_window,
        "window": WINDOW,
    }
