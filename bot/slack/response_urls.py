"""Whether a response_url is Slack's. Pure."""

from yarl import URL

# https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
# GovSlack has a domain of its own.
_PLACES = frozenset({("https", "hooks.slack.com", 443), ("https", "hooks.slack-gov.com", 443)})


def slacks_url(response_url: str, api_url: str) -> URL | None:
    """Return a response_url that may be called, https at Slack or where its Web API is; else None.

    Read by the parser that then sends the request, so no second reading of it can differ.
    """
    url = _parsed(response_url)
    if url is None or url.raw_user is not None or url.raw_password is not None:
        return None
    api = _parsed(api_url)
    place = (url.scheme, url.raw_host, url.port)
    if api is not None and place == (api.scheme, api.raw_host, api.port):
        return url
    return url if place in _PLACES else None


def host_of(response_url: str) -> str | None:
    """Return the host alone, which may be logged; None where there is none."""
    url = _parsed(response_url)
    return None if url is None else url.raw_host


def _parsed(text: str) -> URL | None:
    try:
        url = URL(text)
        usable = url.scheme in ("https", "http") and bool(url.raw_host) and bool(url.port)
    except ValueError:
        return None
    return url if usable else None
