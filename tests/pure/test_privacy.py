"""docs/privacy.md names every table of the database, and every scope of the Slack app."""

import re

import sqlalchemy as sa
import yaml

from bot.database.stored import ENCRYPTED
from bot.database.tables import metadata
from bot.settings import load_settings
from support.programs import ROOT

PAGE = (ROOT / "docs" / "privacy.md").read_text()


def table(first_head: str) -> list[list[str]]:
    """Return the rows of the table whose first column is headed so."""
    (found,) = re.findall(rf"^\| {first_head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def test_each_scope_of_the_manifest_has_what_needs_it_and_what_happens_without_it() -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text())
    scopes = manifest["oauth_config"]["scopes"]["bot"]
    rows = table("scope")
    assert [row[0] for row in rows] == [f"`{scope}`" for scope in scopes]
    assert all(needs and without for _, needs, without in rows)


def test_each_table_has_what_it_holds_and_for_how_long() -> None:
    rows = table("table")
    assert {row[0].strip("`") for row in rows} == metadata.tables.keys()
    assert all(what and long for _, what, _, long in rows)


def test_what_is_encrypted_is_said_to_be() -> None:
    said = {row[0].strip("`") for row in table("table") if row[2] == "yes"}
    assert said == {encrypted.table.name for encrypted in ENCRYPTED}
    # A fingerprint and a state are hashes.
    binary = {
        (name, column.name)
        for name, one in metadata.tables.items()
        for column in one.c
        if isinstance(column.type, sa.LargeBinary)
    }
    encrypted = {(one.table.name, column.name) for one in ENCRYPTED for column in one.columns}
    assert binary - encrypted == {("deliveries", "fingerprint"), ("oauth_states", "digest")}


def test_the_days_are_the_defaults() -> None:
    settings = load_settings(env_file=None)
    for name in ("RETENTION_DAYS", "AUDIT_DAYS"):
        days = getattr(settings, name.lower())
        assert set(re.findall(rf"`{name}` \((\d+)\)", PAGE)) == {f"{days:g}"}
