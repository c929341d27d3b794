"""What Slack sends: a payload of each kind."""

import json
import time
from typing import Any

from support.running import TEAM

Payload = dict[str, Any]


def interaction(**fields: Any) -> Payload:
    """What every interaction carries, and more."""
    return {
        "team": {"id": TEAM, "domain": "x"},
        "user": {"id": "U0ANNA", "team_id": TEAM},
        "trigger_id": f"1.{time.time_ns()}",
        "api_app_id": "A0",
        **fields,
    }


def click(action_id: str, value: str = "b2z2ynxhpjbx", **fields: Any) -> Payload:
    action = {"type": "button", "action_id": action_id, "block_id": "b", "value": value}
    return interaction(
        type="block_actions", actions=[action], channel={"id": "C0SUPPORT"}, **fields
    )


def view(**fields: Any) -> Payload:
    kept = json.dumps({"team": TEAM, "channel": "C0SUPPORT"})
    values = {
        "ticket": {"input": {"type": "plain_text_input", "value": "143"}},
        "text": {"input": {"type": "plain_text_input", "value": "hello"}},
    }
    return {
        "id": f"V{time.time_ns()}",
        "team_id": TEAM,
        "type": "modal",
        "callback_id": "record_portal_activity",
        "private_metadata": kept,
        "state": {"values": values},
        **fields,
    }


def submission(**fields: Any) -> Payload:
    return interaction(type="view_submission", view=view(**fields))


def shortcut(**fields: Any) -> Payload:
    return interaction(
        type="message_action",
        callback_id="record_portal_activity",
        channel={"id": "C0SUPPORT", "name": "support"},
        message={"type": "message", "user": "U0BEN", "ts": "1790000000.000100", "text": "hello"},
        message_ts="1790000000.000100",
        **fields,
    )


def kept(**fields: Any) -> str:
    return json.dumps({"team": TEAM, "channel": "C0SUPPORT", **fields})


def broken_parts(log: str) -> list[str]:
    """Return the lines of a log of unexpected events."""
    signs = ("_failed", '"error":', "places", "Traceback")
    return [line for line in log.splitlines() if any(sign in line for sign in signs)]


WHOLE: dict[str, Payload] = {
    "block_actions": click("confirm_recorded"),
    "view_submission": submission(),
    "view_closed": interaction(type="view_closed", view=view(), is_cleared=False),
    "message_action": shortcut(),
    "shortcut": interaction(type="shortcut", callback_id="x"),
    "interactive_message": interaction(
        type="interactive_message", callback_id="x", actions=[{"name": "x"}]
    ),
    "workflow_step_edit": interaction(type="workflow_step_edit", callback_id="x"),
    "block_suggestion": interaction(type="block_suggestion", action_id="x"),
}

EVENT: Payload = {
    "type": "event_callback",
    "team_id": TEAM,
    "api_app_id": "A0",
    "event": {
        "type": "message",
        "channel": "C0SUPPORT",
        "user": "U0ANNA",
        "text": "hello",
        "ts": "1.2",
    },
    "authorizations": [
        {"enterprise_id": None, "team_id": TEAM, "user_id": "U0BOT", "is_bot": True}
    ],
    "is_ext_shared_channel": True,
}
