"""Whether Slack signed a request, and when."""

import hmac
import re
import time
from collections.abc import Mapping

from slack_sdk.signature import SignatureVerifier

OLDEST = 300
"""Seconds by which a timestamp may differ from this machine's clock, as Slack recommends."""

_WRONG = "The signature is missing or wrong."
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


Headers = Mapping[str, str]


def why_not_slacks(verifier: SignatureVerifier, body: str, headers: Headers) -> str | None:
    """Say in a sentence why a request is not taken for Slack's; None when it is Slack's."""
    timestamp = headers.get("X-Slack-Request-Timestamp", "")
    signature = headers.get("X-Slack-Signature", "")
    if not _TIMESTAMP.fullmatch(timestamp):
        return _WRONG
    expected = verifier.generate_signature(timestamp=timestamp, body=body) or ""
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        return _WRONG
    return why_out_of_time(int(timestamp), time.time())


def why_out_of_time(timestamp: int, now: float) -> str | None:
    """Say what a signed timestamp that is far from `now` tells of this machine's clock. Pure."""
    ahead = round(now - timestamp)
    if abs(ahead) <= OLDEST:
        return None
    if ahead > 0:
        return (
            f"The signature is right, but its timestamp is {ahead} s older than this machine's "
            f"clock says. The clock is {ahead} s ahead, or the request comes late or again."
        )
    return (
        f"The signature is right, but its timestamp is {-ahead} s later than this machine's "
        f"clock says. The clock is {-ahead} s behind."
    )
