"""python -m bot check: every part of the configuration tried, each failure with its mend."""

from dataclasses import dataclass

import structlog

from bot.app import leadsquared_client
from bot.db import Database, DatabaseUnavailableError
from bot.encryption import UndecipherableError, UnusableSecretError
from bot.keys import keyring
from bot.leadsquared.client import LeadSquared
from bot.leadsquared.outcome import NotSent, Rejected, Unknown
from bot.process import environment_tenant
from bot.schema import HEAD, SchemaError, revision_of
from bot.settings import Settings
from bot.slack.installations import Identity
from bot.slack.web import Done, Never, NotNow, SlackWeb
from bot.tenants.directory import Directory
from bot.tenants.tenant import ENVIRONMENT, Tenant

_log = structlog.get_logger(__name__)

SCOPES = (
    "commands",
    "chat:write",
    "chat:write.public",
    "users:read",
    "usergroups:read",
    "channels:read",
    "groups:read",
    "channels:history",
    "groups:history",
    "im:history",
    "mpim:history",
)
"""What manifest.yml asks for; a test holds the two together."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    what: str
    ok: bool
    says: str
    mend: str | None = None


async def check_all(settings: Settings) -> list[Finding]:
    """Try everything once and return the findings in the order in which one would mend them."""
    database = _database(settings)
    slack = await _slack(settings)
    migrated = all(finding.ok for finding in database)
    return [*database, *slack, *(await _tenants(settings) if migrated else [_unknown_tenants()])]


def _database(settings: Settings) -> list[Finding]:
    try:
        found = revision_of(settings.sqlalchemy_url)
    except SchemaError as error:
        return [Finding("Database", ok=False, says="cannot be used", mend=str(error))]
    engine = "SQLite" if settings.on_sqlite else "PostgreSQL"
    migrations = (
        Finding("Migrations", ok=True, says=f"at revision {HEAD}")
        if found == HEAD
        else Finding("Migrations", ok=False, says=f"at {found or 'none'}, needs {HEAD}", mend=_mend_of(found))
    )
    return [Finding("Database", ok=True, says=f"{engine} answers"), migrations]


def _mend_of(revision: str | None) -> str:
    newer = revision is not None and revision > HEAD
    return "start the newer release that the database belongs to" if newer else "python -m bot migrate"


async def _slack(settings: Settings) -> list[Finding]:
    async with SlackWeb(settings.slack_api_url) as web:
        return [*(await _bot_token(settings, web)), await _surface(settings, web)]


async def _bot_token(settings: Settings, web: SlackWeb) -> list[Finding]:
    what, mend = "Slack bot token", "copy the Bot User OAuth Token (xoxb-…) of OAuth & Permissions to SLACK_BOT_TOKEN"
    if settings.slack_bot_token is None:
        return [Finding(what, ok=False, says="missing", mend=mend)]
    match await web.identify(settings.slack_bot_token.get_secret_value()):
        case Never(error):
            return [Finding(what, ok=False, says=f"Slack refuses it: {error}", mend=mend)]
        case NotNow(reason):
            return [_away(what, settings, reason)]
        case Identity() as identity:
            return [
                Finding(what, ok=True, says=f"workspace {identity.team_name or identity.team_id} ({identity.scope})"),
                _scopes(identity),
            ]


def _scopes(identity: Identity) -> Finding:
    missing = [scope for scope in SCOPES if scope not in identity.scopes]
    if not identity.scopes:
        return Finding("Slack scopes", ok=True, says="Slack does not say which the token has")
    if missing:
        mend = "update the app from manifest.yml, then reinstall it to the workspace"
        return Finding("Slack scopes", ok=False, says=f"missing: {', '.join(missing)}", mend=mend)
    return Finding("Slack scopes", ok=True, says=", ".join(SCOPES))


async def _surface(settings: Settings, web: SlackWeb) -> Finding:
    if settings.slack_app_token is None:
        if settings.slack_signing_secret is None:
            mend = "copy the Signing Secret of Basic Information to SLACK_SIGNING_SECRET, or set SLACK_APP_TOKEN"
            return Finding("Slack signing secret", ok=False, says="missing", mend=mend)
        return Finding("Slack signing secret", ok=True, says="present; requests come by HTTP to /slack/events")
    match await web.call(settings.slack_app_token.get_secret_value(), "apps.connections.open"):
        case Done():
            return Finding("Slack app token", ok=True, says="Socket Mode opens")
        case Never(error):
            mend = "make an app-level token with connections:write on Basic Information, and switch Socket Mode on"
            return Finding("Slack app token", ok=False, says=f"Slack refuses it: {error}", mend=mend)
        case NotNow(reason):
            return _away("Slack app token", settings, reason)


def _away(what: str, settings: Settings, reason: str) -> Finding:
    mend = f"check the network and SLACK_API_URL ({settings.slack_api_url}), then try again"
    return Finding(what, ok=False, says=f"Slack does not answer: {reason}", mend=mend)


def _unknown_tenants() -> Finding:
    return Finding("Tenants", ok=False, says="not looked at", mend="mend the database first")


async def _tenants(settings: Settings) -> list[Finding]:
    try:
        keys = keyring(settings)
    except UnusableSecretError as error:
        return [Finding("Encryption secret", ok=False, says="cannot be used", mend=str(error))]
    database = Database(settings.sqlalchemy_url)
    try:
        directory = Directory(database, keys)
        tenants: list[Tenant | Finding] = [
            await _load(directory, name) for name in await directory.names() if name != ENVIRONMENT
        ]
        mapped = {name: bool(await directory.mappings(name)) for name in await directory.names()}
    except DatabaseUnavailableError as error:
        return [Finding("Tenants", ok=False, says=f"the database does not answer: {error}", mend="try again")]
    finally:
        await database.close()
    own = environment_tenant(settings)
    if own is not None:
        tenants.insert(0, own)
        mapped[ENVIRONMENT] = True
    if not tenants:
        mend = "python -m bot tenants add NAME, or set the four LEADSQUARED_… variables"
        return [Finding("Tenants", ok=False, says="there is none", mend=mend)]
    async with leadsquared_client(settings) as leadsquared:
        return [
            tenant if isinstance(tenant, Finding) else await _reach(leadsquared, tenant, mapped=mapped[tenant.name])
            for tenant in tenants
        ]


async def _load(directory: Directory, name: str) -> Tenant | Finding:
    try:
        return await directory.get(name, keys=True)
    except UndecipherableError:
        mend = f"add the earlier secret to ENCRYPTION_KEYS again, at the end; or: python -m bot tenants update {name}"
        return Finding(f"Tenant {name}", ok=False, says="its keys cannot be decrypted", mend=mend)


async def _reach(leadsquared: LeadSquared, tenant: Tenant, *, mapped: bool) -> Finding:
    what = f"Tenant {tenant.name}"
    mend = (
        "correct LEADSQUARED_API_URL"
        if tenant.name == ENVIRONMENT
        else f"python -m bot tenants update {tenant.name} --api-url https://…"
    )
    match await leadsquared.reach(tenant):
        case NotSent(host):
            return Finding(what, ok=False, says=f"{host} cannot be reached", mend=f"check the network; {mend}")
        case Rejected(_, message) | Unknown(_, message):
            return Finding(what, ok=False, says=message or "its host does not answer", mend=mend)
    if not mapped:
        return Finding(
            what, ok=False, says="mapped to no workspace", mend=f"python -m bot tenants map {tenant.name} --team T…"
        )
    return Finding(what, ok=True, says=f"{tenant.api_url} answers (the keys are tried by the first activity)")
