"""The pages at the end of an installation: which workspace, or what went wrong and what to do."""

import html
from collections.abc import Sequence
from urllib.parse import urlencode

from slack_bolt.response import BoltResponse
from slack_sdk.oauth.installation_store import Installation

INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"

_AGAIN = f'<a href="{INSTALL_PATH}">Start the installation again</a>'


def installed(installation: Installation) -> BoltResponse:
    """Say where the bot is installed now, and what comes next."""
    of_organisation = bool(installation.is_enterprise_install)
    kind = "organisation" if of_organisation else "workspace"
    named = installation.enterprise_name if of_organisation else installation.team_name
    place = (installation.enterprise_id if of_organisation else installation.team_id) or ""
    app_id = installation.app_id or ""
    app = html.escape("slack://app?" + urlencode({"team": place, "id": app_id, "tab": "home"}))
    browser = html.escape(
        "https://slack.com/app_redirect?" + urlencode({"app": app_id, "team": place})
    )
    return _page(
        200,
        f"Portal Activity is installed in the {kind} {named or place}",
        "Next, connect it to LeadSquared. Open the app in Slack, or enter <code>/portal-activity setup</code> in a channel.",
        f'<a href="{app}">Open in Slack</a>, or <a href="{browser}">open in the browser</a>',
    )


def failed(reason: str, status: int) -> BoltResponse:
    """Say why an installation did not come about; `reason` is Bolt's word, or Slack's."""
    word = f"<code>{html.escape(reason)}</code>"
    title, what = _FAILURES.get(reason, _REFUSED)
    return _page(status, title, what.replace("{word}", word), _AGAIN)


def database_away() -> BoltResponse:
    return _page(
        503,
        _DATABASE,
        "Nothing was installed. Try again in a minute. If this repeats, ask the person who runs the bot.",
        _AGAIN,
    )


def maybe_installed() -> BoltResponse:
    return _page(
        503,
        _DATABASE,
        "The installation may or may not be stored. Install again in a minute: installing twice does no harm.",
        _AGAIN,
    )


def slack_away() -> BoltResponse:
    return _page(
        502,
        "Slack does not answer",
        "The bot could not ask Slack, so nothing was installed. Try again in a minute.",
        _AGAIN,
    )


_DATABASE = "The bot's database does not answer"
_REFUSED = (
    "Slack refused the installation",
    "Slack says {word}, so nothing was installed. Try again. If this repeats, ask the person who runs the bot.",
)
_CLIENT = (
    "The bot's client ID or secret is wrong",
    "Slack says {word}, so nothing was installed. Ask the person who runs the bot to correct <code>SLACK_CLIENT_ID</code> and <code>SLACK_CLIENT_SECRET</code>. Both are on the Slack app's page Basic Information.",
)
_CODE = (
    "Slack's code is no longer valid",
    "Slack says {word}, so nothing was installed. A code works once, for 10 minutes. Start again.",
)
_FAILURES = {
    "access_denied": (
        "Nothing was installed",
        "You did not allow it, or your workspace does not let you install apps. If an admin must approve apps, ask one first.",
    ),
    "invalid_browser": (
        "This installation started in another browser",
        "So nothing was installed. Start and finish in the same browser, on an https address, with cookies allowed.",
    ),
    "invalid_state": (
        "This installation has expired, or is already finished",
        "It must finish within 10 minutes, and its last page works once. If the bot is not in your workspace yet, start again.",
    ),
    "missing_code": ("Slack sent no code", "So nothing was installed. Start again."),
    "invalid_code": _CODE,
    "code_already_used": _CODE,
    "invalid_client_id": _CLIENT,
    "bad_client_secret": _CLIENT,
    "bad_redirect_uri": (
        "The bot's address is not one of the app's redirect URLs",
        f"Slack says {{word}}, so nothing was installed. Ask the person who runs the bot to add its address with <code>{REDIRECT_PATH}</code> on the Slack app's page OAuth &amp; Permissions.",
    ),
}


def _page(status: int, title: str, what: str, next_: str) -> BoltResponse:
    """Return a page; `title` is text, the rest is HTML."""
    title = html.escape(title)
    body = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto;
padding: 0 1rem }}</style>
</head>
<body>
<h1>{title}</h1>
<p>{what}</p>
<p>{next_}</p>
</body>
</html>
"""
    headers: dict[str, str | Sequence[str]] = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        # The address of the last page has the code and the state.
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "X-Content-Type-Options": "nosniff",
    }
    return BoltResponse(status=status, body=body, headers=headers)
