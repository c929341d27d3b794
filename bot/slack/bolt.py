"""The Bolt application: which listeners there are, and what happens when one fails."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.database.writer import DatabaseUnavailableError
from bot.slack import answers, modals
from bot.slack.payloads import BlockActions, MessageShortcut, Payload, View, ViewSubmission
from bot.slack.replies import Responder
from bot.slack.text import as_read

_log = structlog.get_logger(__name__)

_PAYLOAD = "payload_model"
"""The place in Bolt's context of a request where its payload stands as it was read."""

P = TypeVar("P", bound=Payload)


class Feature(Protocol):
    """Something people see and do, registered as listeners."""

    def register(self, bolt: AsyncApp) -> None: ...


def bolt_application(
    client: AsyncWebClient,
    responder: Responder,
    features: list[Feature],
) -> AsyncApp:
    """Return Bolt with the features' listeners.

    `process_before_response`: the listeners only accept, so Bolt awaits them; else it would look
    for their acknowledgement every 10 ms.
    """

    async def authorize(
        enterprise_id: str | None, team_id: str | None, **_: object
    ) -> AuthorizeResult:
        # The listeners look for the token where they need one, and say in words what is missing.
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id)

    bolt = AsyncApp(
        name="portal-activity",
        logger=logging.getLogger("slack_bolt.app"),
        client=client,
        signing_secret="",
        authorize=authorize,
        process_before_response=True,
        # `front.py` does these before anything is parsed, or what they are for does not come:
        # events, functions.
        request_verification_enabled=False,
        ssl_check_enabled=False,
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )
    for feature in features:
        feature.register(bolt)
    bolt.event(re.compile(""))(_ignore)
    bolt.error(_told_as_broken(responder))
    return bolt


async def _ignore() -> None:
    """Take an event that no feature needs: Slack repeats what is refused."""


async def dispatch(bolt: AsyncApp, payload: Payload) -> BoltResponse:
    """Hand Bolt what was read of a payload (`read_payload`), whichever way it came.

    As with Bolt's own Socket Mode: the signature has been verified and the body parsed. No headers,
    for what Bolt reads there is nothing that Slack signs. The body is only what the bot reads, so
    that Bolt, which reads much more and trusts its shape, cannot fail on the rest.
    """
    body = payload.model_dump(exclude_unset=True)
    try:
        request = AsyncBoltRequest(mode="socket_mode", body=body, context={_PAYLOAD: payload})
        return await bolt.async_dispatch(request)
    except Exception:  # noqa: BLE001 - it is logged, and told
        # Bolt could not handle it: the person reads that nothing was done.
        _log.exception("request_failed")
        return BoltResponse(
            status=200, body={"response_type": "ephemeral", "text": answers.broken().text}
        )


def payload_of(context: AsyncBoltContext, kind: type[P]) -> P:
    """Return a listener's payload as it was read at the way in."""
    payload = context[_PAYLOAD]
    if not isinstance(payload, kind):
        raise TypeError(f"a listener for {kind.__name__} was called with {type(payload).__name__}")
    return payload


def _broken_form(view: View) -> dict[str, Any]:
    """Say that nothing was done by the ticket's field, where there is one: what was typed stays."""
    broken = answers.broken()
    if any(block.block_id == modals.TICKET_BLOCK for block in view.blocks):
        errors = {modals.TICKET_BLOCK: as_read(broken.words)}
        return {"response_action": "errors", "errors": errors}
    return {"response_action": "update", "view": modals.notice_modal(broken)}


def _told_as_broken(responder: Responder) -> Callable[..., Awaitable[BoltResponse]]:
    """Return the listener for unexpected errors.

    It logs the place, and answers the person in the way that the request allows.
    """

    async def tell(error: Exception, request: AsyncBoltRequest) -> BoltResponse:
        kind = request.body.get("type") or request.body.get("command")
        if kind == "event_callback" and isinstance(error, DatabaseUnavailableError):
            _log.warning("event_not_taken", reason=str(error))
            return BoltResponse(status=503, body="")  # Slack sends it again
        _log.error("listener_failed", exc_info=error, kind=kind)
        click = request.context.get(_PAYLOAD)
        if isinstance(click, ViewSubmission):
            return BoltResponse(status=200, body=_broken_form(click.view))
        if isinstance(click, BlockActions | MessageShortcut):
            # Slack does not show the acknowledgement of a click.
            responder.say(click, answers.broken())
            return BoltResponse(status=200, body="")
        return BoltResponse(
            status=200, body={"response_type": "ephemeral", "text": answers.broken().text}
        )

    return tell
