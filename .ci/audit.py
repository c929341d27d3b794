"""Holds the pinned requirements against the vulnerabilities that OSV knows (https://osv.dev), by pip-audit: `make audit`.

Exit status: 0 when nothing is known, and when the advisory service could not be asked (said loudly: that is nobody's fault
here, and no reason to stop a change); 1 when something is known; 2 when the audit itself cannot be made.

A vulnerability that is accepted for a while stands in `.ci/accepted-advisories.toml`, under its id:

    [GHSA-xxxx-xxxx-xxxx]
    reason = "only where the bot parses XML, which it never does"
    until = 2027-01-31
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ACCEPTED = ROOT / ".ci" / "accepted-advisories.toml"
PIP_AUDIT = (sys.executable, "-m", "pip_audit")
WITHIN = 180.0
"""Seconds for all questions to the advisory service together."""

LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Found:
    """A known vulnerability in a pinned package."""

    package: str
    version: str
    ids: tuple[str, ...]  # the advisory's own id first, then what else it is called
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mend = f"fixed in {' and '.join(self.fixed_in)}" if self.fixed_in else "no version mends it yet"
        also = f" ({', '.join(self.ids[1:])})" if self.ids[1:] else ""
        return f"{self.package} {self.version}: {self.ids[0]}{also}; {mend}"


@dataclass(frozen=True, slots=True)
class Audited:
    """What pip-audit says of all pinned packages. `skipped`: those it could not look at, with its reason."""

    packages: int
    found: tuple[Found, ...]
    skipped: tuple[str, ...]


class NotAuditedError(Exception):
    """The advisory service gave no answer that can be relied on."""


class UnusableError(Exception):
    """The audit cannot be made: the requirements, or what is accepted, cannot be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        accepted = _accepted(options.accepted, datetime.now(UTC).date())
        _collect(options)
        audited = _audit(options)
    except UnusableError as error:
        print(f"The audit of the dependencies cannot be made: {error}")
        return 2
    except NotAuditedError as error:
        print("!" * 100)
        print(f"The list of dependencies WAS NOT AUDITED: {error}")
        print("It may hold a known vulnerability, or none. Run `make audit` where the advisory service can be reached.")
        print("!" * 100)
        return 0
    return _report(audited, accepted)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("requirements", nargs="*", type=Path, default=_pinned())
    parser.add_argument("--osv-url", help="another advisory service that speaks OSV's protocol")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED)
    parser.add_argument("--within", type=float, default=WITHIN, help="seconds for the whole audit")
    return parser.parse_args(arguments)


def _pinned() -> list[Path]:
    return [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]


def _accepted(file: Path, today: date) -> dict[str, str]:
    """Return the reasons of what is accepted, by id; what has expired is accepted no more."""
    try:
        entries: dict[str, Any] = tomllib.loads(file.read_text()) if file.exists() else {}
        return {id_: str(entry["reason"]) for id_, entry in entries.items() if entry["until"] >= today}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UnusableError(f"{file}: each entry needs a reason and a date `until` ({error})") from None


def _command(options: argparse.Namespace) -> list[str]:
    files = [argument for file in options.requirements for argument in ("-r", str(file))]
    # Without pip, nothing is installed or resolved: every package is pinned with its hashes.
    return [*PIP_AUDIT, *files, "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]


def _collect(options: argparse.Namespace) -> None:
    """Have the requirements read, without a question to anybody: what fails here is the files' fault."""
    ended = subprocess.run([*_command(options), "--dry-run"], capture_output=True, text=True, check=False, timeout=60)
    if ended.returncode != 0:
        raise UnusableError(_last_words(ended.stderr))


def _audit(options: argparse.Namespace) -> Audited:
    service = ["--vulnerability-service", "osv", *(["--osv-url", options.osv_url] if options.osv_url else [])]
    try:
        ended = subprocess.run(
            [*_command(options), *service], capture_output=True, text=True, check=False, timeout=options.within
        )
    except subprocess.TimeoutExpired:
        raise NotAuditedError(f"the advisory service did not answer within {options.within:g} s") from None
    try:
        return _read(json.loads(ended.stdout))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotAuditedError(_last_words(ended.stderr)) from None


def _read(report: Mapping[str, Any]) -> Audited:
    # https://github.com/pypa/pip-audit, --format json. Two files can pin the same package: it counts once.
    packages = {one["name"]: one for one in report["dependencies"]}
    found = [
        Found(name, one["version"], (known["id"], *known.get("aliases", [])), tuple(known["fix_versions"]))
        for name, one in packages.items()
        for known in one.get("vulns", [])
    ]
    skipped = [f"{name}: {one['skip_reason']}" for name, one in packages.items() if "skip_reason" in one]
    return Audited(len(packages) - len(skipped), tuple(found), tuple(skipped))


def _report(audited: Audited, accepted: Mapping[str, str]) -> int:
    for skipped in audited.skipped:
        print(f"Not looked at: {skipped}")
    open_ = []
    for found in audited.found:
        reason = next((accepted[id_] for id_ in found.ids if id_ in accepted), None)
        if reason is None:
            open_.append(found)
        else:
            print(f"Accepted: {found}; {reason}")
    if not open_:
        print(f"Audited, {audited.packages} packages, nothing {'else ' if audited.found else ''}known.")
        return 0
    print(f"Audited, {audited.packages} packages. Known vulnerabilities:")
    for found in open_:
        print(f"  {found}")
    print("Raise the version in pyproject.toml where it is named there, run `make lock`, and test.")
    return 1


def _last_words(said: str) -> str:
    """Return what a program that failed said last: of a traceback, the error."""
    lines = list(_spoken(said)) or ["pip-audit said nothing"]
    if unreached := re.search(r"host='([^']+)'.*?(?:(resol)|(refused)|(timed out)|\Z)", lines[-1], re.IGNORECASE):
        host, unknown, refused, late = unreached.groups()
        why = (
            "name not known"
            if unknown
            else "connection refused"
            if refused
            else "no answer in time"
            if late
            else "no connection"
        )
        return f"{host} cannot be reached ({why})"
    return lines[-1][:LONGEST_REASON]


def _spoken(said: str) -> Iterator[str]:
    for line in said.splitlines():
        if line.strip() and not line.startswith(" "):
            yield line.strip()


if __name__ == "__main__":
    sys.exit(main())
