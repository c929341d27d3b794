"""Slack's client for `oauth.v2.access`, with which installations and refreshes get their tokens."""

from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse


class OAuthClient(AsyncWebClient):
    """Sends the app's ID and secret in the form. It repeats no call.

    slack_sdk sends them in a header, which it makes with what aiohttp has deprecated: each call
    would warn.
    """

    def __init__(self, like: AsyncWebClient) -> None:
        super().__init__(
            base_url=like.base_url,
            session=like.session,
            timeout=like.timeout,
            retry_handlers=[],
            trust_env_in_session=False,
        )

    async def oauth_v2_access(
        self,
        **arguments: Any,  # noqa: ANN401 - slack_sdk's
    ) -> AsyncSlackResponse:
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.api_call("oauth.v2.access", data=given)
