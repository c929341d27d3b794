"""python -m bot check: tries every part of the configuration, and says how to fix each fault."""

from dataclasses import dataclass

import structlog

from bot.activities.at_start import find_at_start
from bot.admin.doubts import doubts
from bot.admin.exposed import exposed, is_marked_read_only
from bot.admin.unserved import say_unserved, unserved
from bot.admin.workspaces import try_all
from bot.app import leadsquared_client
from bot.database.schema import HEAD, ReadOnlyError, SchemaError, require_writable, revision_of
from bot.database.stored import examine, unreadable
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring, UndecipherableError, UnusableSecretError
from bot.installations.single import Identity
from bot.installations.store import InstallationStore
from bot.keys import keyring
from bot.leadsquared.client import LeadSquared
from bot.leadsquared.outcome import CannotRead, NotSent, Rejected, Unknown
from bot.leadsquared.tenant import ENVIRONMENT, Tenant
from bot.process import environment_tenant
from bot.settings import Settings
from bot.slack.pages import INSTALL_PATH
from bot.slack.scopes import SCOPES
from bot.slack.web import Done, Never, NotNow, SlackWeb
from bot.tenants.directory import Directory, Scope

_log = structlog.get_logger(__name__)

EVERY_TENANT = 1_000_000

CLOCK_DOUBTFUL, CLOCK_OFF = 60.0, 300.0
"""Seconds. From the second on, each of Slack's signed requests looks too old, and is refused."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of the table. With a warning the bot works; `fix` says how to fix it."""

    what: str
    ok: bool
    says: str
    fix: str | None = None
    warns: bool = False

    @property
    def mark(self) -> str:
        if self.warns:
            return "⚠"
        return "✓" if self.ok else "✗"


def _warning(what: str, says: str, fix: str | None = None) -> Checked:
    return Checked(what, ok=True, says=says, fix=fix, warns=True)


async def check_all(settings: Settings) -> list[Checked]:
    """Try everything once; return the findings in the order in which to fix them."""
    doubtful = [_warning("Settings", says) for says in doubts(settings)]
    database = _database(settings)
    migrated = all(finding.ok for finding in database)
    slack, identity = await _slack(settings)
    workspaces = await _workspaces(settings) if migrated and settings.serves_many else []
    tenants = await _tenants(settings, identity) if migrated else [_unknown_tenants()]
    return [*doubtful, *_exposed(settings), *database, *slack, *workspaces, *tenants]


def _exposed(settings: Settings) -> list[Checked]:
    return [
        _warning("Secrets", f"{file} can be read by others (mode {mode})", f"chmod 600 {file}")
        for file, mode in exposed(settings)
    ]


def _database(settings: Settings) -> list[Checked]:
    try:
        found = revision_of(settings.sqlalchemy_url)
        if found is not None:
            require_writable(settings.sqlalchemy_url)
    except ReadOnlyError as error:
        return [Checked("Database", ok=False, says="read-only", fix=str(error))]
    except SchemaError as error:
        return [Checked("Database", ok=False, says="cannot be used", fix=str(error))]
    engine = "SQLite" if settings.on_sqlite else "PostgreSQL"
    migrations = (
        Checked("Migrations", ok=True, says=f"at revision {HEAD}")
        if found == HEAD
        else Checked(
            "Migrations",
            ok=False,
            says=f"at {found or 'none'}, needs {HEAD}",
            fix=_fix_for_schema(found),
        )
    )
    answers = Checked("Database", ok=True, says=f"{engine} answers")
    if is_marked_read_only(settings):
        says = f"{engine} answers, but only root can write its file"
        answers = _warning("Database", says, "let the bot's user write it: chmod u+w")
    return [answers, migrations]


def _fix_for_schema(revision: str | None) -> str:
    newer = revision is not None and revision > HEAD
    return (
        "start the newer release that the database belongs to" if newer else "python -m bot migrate"
    )


async def _slack(settings: Settings) -> tuple[list[Checked], Identity | None]:
    async with SlackWeb(settings.slack_api_url) as web:
        token, identity = ([], None) if settings.serves_many else await _bot_token(settings, web)
        return [*_clock(await web.clock_ahead()), *token, await _surface(settings, web)], identity


def _clock(ahead: float | None) -> list[Checked]:
    """Say by how much this machine's clock is off, when it is."""
    if ahead is None or abs(ahead) < CLOCK_DOUBTFUL:
        return []
    way = "ahead of" if ahead > 0 else "behind"
    says = f"this machine's clock is {abs(ahead):.0f} s {way} Slack's"
    fix = "set it: timedatectl says whether it is synchronised; in a container, the host's"
    off = abs(ahead) >= CLOCK_OFF
    return [Checked("Clock", ok=not off, says=says, fix=fix, warns=not off)]


async def _workspaces(settings: Settings) -> list[Checked]:
    """Try the token of each workspace that has installed the bot."""
    try:
        keys = keyring(settings)
    except UnusableSecretError:
        return []  # the tenants' line says so
    database = Database(settings.sqlalchemy_url)
    try:
        async with SlackWeb(settings.slack_api_url) as web:
            found = await try_all(InstallationStore(database, keys), keys, web)
    except DatabaseUnavailableError as error:
        says = f"the database does not answer: {error}"
        return [Checked("Workspaces", ok=False, says=says, fix="try again")]
    finally:
        await database.close()
    if not found:
        says = "no workspace has installed the bot"
        return [_warning("Workspaces", says, f"open https://YOUR-ADDRESS{INSTALL_PATH}")]
    return [
        Checked(
            f"Workspace {installation.name or ''} ({installation.installed_in})",
            ok=problem is None,
            says=problem or "Slack accepts its token, and no scope is missing",
            fix=fix,
        )
        for installation, problem, fix in found
    ]


async def _bot_token(settings: Settings, web: SlackWeb) -> tuple[list[Checked], Identity | None]:
    what, fix = (
        "Slack bot token",
        "copy the Bot User OAuth Token (xoxb-…) of OAuth & Permissions to SLACK_BOT_TOKEN",
    )
    if settings.slack_bot_token is None:
        return [Checked(what, ok=False, says="missing", fix=fix)], None
    match await web.identify(settings.slack_bot_token.get_secret_value()):
        case Never(error):
            return [Checked(what, ok=False, says=f"Slack rejects it: {error}", fix=fix)], None
        case NotNow(reason):
            return [_away(what, settings, reason)], None
        case Identity() as identity:
            name = identity.team_name or identity.team_id
            whose = Checked(what, ok=True, says=f"workspace {name} ({identity.scope})")
            return [whose, _scopes(identity)], identity


def _scopes(identity: Identity) -> Checked:
    missing = [scope for scope in SCOPES if scope not in identity.scopes]
    if not identity.scopes:
        return Checked("Slack scopes", ok=True, says="Slack does not list the token's scopes")
    if missing:
        fix = "update the app from manifest.yml, then reinstall it to the workspace"
        return Checked("Slack scopes", ok=False, says=f"missing: {', '.join(missing)}", fix=fix)
    return Checked("Slack scopes", ok=True, says=", ".join(SCOPES))


async def _surface(settings: Settings, web: SlackWeb) -> Checked:
    if settings.slack_app_token is None:
        if settings.slack_signing_secret is None:
            fix = (
                "copy the Signing Secret of Basic Information to SLACK_SIGNING_SECRET, "
                "or set SLACK_APP_TOKEN"
            )
            return Checked("Slack signing secret", ok=False, says="missing", fix=fix)
        return Checked(
            "Slack signing secret",
            ok=True,
            says="present; Slack sends requests by HTTP to /slack/events",
        )
    match await web.call(settings.slack_app_token.get_secret_value(), "apps.connections.open"):
        case Done():
            return Checked("Slack app token", ok=True, says="Socket Mode connects")
        case Never(error):
            fix = (
                "make an app-level token with connections:write on Basic Information, "
                "and switch Socket Mode on"
            )
            return Checked("Slack app token", ok=False, says=f"Slack rejects it: {error}", fix=fix)
        case NotNow(reason):
            return _away("Slack app token", settings, reason)


def _away(what: str, settings: Settings, reason: str) -> Checked:
    fix = f"check the network and SLACK_API_URL ({settings.slack_api_url}), then try again"
    return Checked(what, ok=False, says=f"Slack does not answer: {reason}", fix=fix)


def _unknown_tenants() -> Checked:
    return Checked("Tenants", ok=False, says="not checked", fix="fix the database first")


async def _tenants(settings: Settings, identity: Identity | None) -> list[Checked]:
    try:
        keys = keyring(settings)
    except UnusableSecretError as error:
        return [Checked("Encryption secret", ok=False, says="cannot be used", fix=str(error))]
    database = Database(settings.sqlalchemy_url)
    try:
        directory = Directory(database, keys)
        tenants: list[Tenant | Checked] = [
            await _load(directory, name) for name in await directory.names() if name != ENVIRONMENT
        ]
        mapped = {name: await directory.mappings(name) for name in await directory.names()}
        stored = await _stored(database, keys)
    except DatabaseUnavailableError as error:
        return [
            Checked(
                "Tenants", ok=False, says=f"the database does not answer: {error}", fix="try again"
            )
        ]
    finally:
        await database.close()
    own = environment_tenant(settings)
    if own is not None:
        tenants.insert(0, own)
        # Each start maps it to the token's workspace.
        mapped[ENVIRONMENT] = mapped.get(ENVIRONMENT) or [Scope()]
    if not tenants and settings.serves_many:
        fix = "enter /portal-activity setup in Slack, or: python -m bot tenants add NAME"
        return [*stored, _warning("Tenants", "no workspace is connected to LeadSquared", fix)]
    if not tenants:
        fix = "python -m bot tenants add NAME, or set the four LEADSQUARED_… variables"
        return [*stored, Checked("Tenants", ok=False, says="there is none", fix=fix)]
    async with leadsquared_client(settings) as leadsquared:
        found = [
            tenant
            if isinstance(tenant, Checked)
            else await _reach(leadsquared, tenant, mapped=bool(mapped[tenant.name]))
            for tenant in tenants
        ]
    return [*stored, *found, *_unserved(identity, mapped)]


async def _stored(database: Database, keys: Keyring) -> list[Checked]:
    """Say which stored values cannot be decrypted.

    Also say whether the database may be a restored backup.
    """
    found = []
    try:
        examined = await examine(database, keys, tenants_at_most=EVERY_TENANT)
    except UnusableSecretError as error:
        found.append(
            Checked("Stored values", ok=False, says="none can be decrypted", fix=str(error))
        )
    else:
        if examined.unreadable:
            fix = "add the earlier secret to ENCRYPTION_KEYS, at the end, and restart the bot"
            found.append(Checked("Stored values", ok=False, says=unreadable(examined), fix=fix))
    backlog = await find_at_start(database)
    if backlog.looks_restored:
        hours = backlog.newest_ago / 3600
        says = f"{backlog.waiting:,} activities wait, and the newest entry is {hours:.0f} h old"
        found.append(
            _warning(
                "Backlog",
                says,
                "if this is a restored backup, run before the start: python -m bot restored",
            )
        )
    return found


def _unserved(identity: Identity | None, mapped: dict[str, list[Scope]]) -> list[Checked]:
    if identity is None:
        return []
    return [
        _warning(f"Mapping to {name}", say_unserved(identity, scope))
        for name, scopes in mapped.items()
        for scope in unserved(identity, scopes)
    ]


async def _load(directory: Directory, name: str) -> Tenant | Checked:
    try:
        return await directory.get(name, keys=True)
    except UndecipherableError:
        fix = (
            "add the earlier secret to ENCRYPTION_KEYS, at the end; or: "
            f"python -m bot tenants update {name}"
        )
        return Checked(f"Tenant {name}", ok=False, says="its keys cannot be decrypted", fix=fix)


async def _reach(leadsquared: LeadSquared, tenant: Tenant, *, mapped: bool) -> Checked:
    what = f"Tenant {tenant.name}"
    fix = (
        "correct LEADSQUARED_API_URL"
        if tenant.name == ENVIRONMENT
        else f"python -m bot tenants update {tenant.name} --api-url https://…"
    )
    match await leadsquared.reach(tenant):
        case NotSent(host):
            return Checked(
                what, ok=False, says=f"{host} cannot be reached", fix=f"check the network; {fix}"
            )
        case Rejected(_, message) | Unknown(_, message):
            return Checked(what, ok=False, says=message or "its host does not answer", fix=fix)
    keys = await leadsquared.try_keys(tenant)
    if keys is False:
        says = "LeadSquared rejects its keys (status 401)"
        return Checked(what, ok=False, says=says, fix=_fix_for_keys(tenant))
    if not mapped:
        return Checked(
            what,
            ok=False,
            says="mapped to no workspace",
            fix=f"python -m bot tenants map {tenant.name} --team T…",
        )
    if isinstance(keys, CannotRead):
        says = f"{tenant.api_url} answers, but the keys could not be tested ({keys.reason})"
        return _warning(what, says, _STEPS.get(keys.reason, "try again later"))
    return Checked(what, ok=True, says=f"{tenant.api_url} accepts the keys")


_STEPS = {
    "status 403": "check the API switch, the IP allowlist and the rate limit in LeadSquared",
    "status 404": (
        "check the host and the org ID; if they are right, only an activity can test the keys"
    ),
    "status 429": "the rate limit is used up; try again in a minute",
}


def _fix_for_keys(tenant: Tenant) -> str:
    change = (
        "correct LEADSQUARED_ACCESS_KEY and LEADSQUARED_SECRET_KEY"
        if tenant.name == ENVIRONMENT
        else f"python -m bot tenants update {tenant.name}"
    )
    return f"{change}; if they are right, check the host: a host of another region rejects them too"
