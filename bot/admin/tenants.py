"""What an admin asks of the directory, checked and put into words."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from bot.database.writer import Database
from bot.leadsquared.address import api_host, parse_address
from bot.leadsquared.tenant import (
    DEFAULT_LIMIT,
    ENVIRONMENT,
    Attribution,
    Tenant,
    check_key,
    check_org_id,
)
from bot.settings import Settings
from bot.tenants.changes import Change, listed
from bot.tenants.directory import Belongings, Directory, Scope, TenantError

T = TypeVar("T")

LONGEST_NAME = 64


def scope_of(enterprise_id: str, team_id: str, channel_id: str) -> Scope:
    """Check the ids of a mapping.

    A channel alone is not enough, for ids are unique within a workspace only.
    """
    for option, value, initials in (
        ("--enterprise", enterprise_id, "E"),
        ("--team", team_id, "T"),
        ("--channel", channel_id, "CDG"),
    ):
        if value and not (value.isascii() and value.isalnum() and value[0] in initials):
            raise TenantError(
                f"{option} takes Slack's ID, "
                f"which starts with {' or '.join(initials)}, not {value!r}."
            )
    if not (enterprise_id or team_id):
        raise TenantError(
            "Give the workspace with --team T…, or the organisation with --enterprise E…."
        )
    return Scope(enterprise_id, team_id, channel_id)


async def add_tenant(
    directory: Directory,
    settings: Settings,
    name: str,
    api_url: str,
    org_id: str,
    access_key: str,
    secret_key: str,
    limit: int | None,
    *,
    attribution: Attribution | None = None,
    show_ticket: bool | None = None,
) -> list[str]:
    """Add a tenant after checking each of its parts; return the other names of its account."""
    _not_environment(name)
    tenant = Tenant(
        name,
        api_url,
        org_id,
        access_key,
        secret_key,
        limit or DEFAULT_LIMIT,
        attribution=attribution or Attribution.NONE,
        show_ticket=bool(show_ticket),
    )
    tenant = _checked(tenant, settings)
    await directory.add(tenant)
    return await _other_names(directory, settings, tenant)


async def update_tenant(
    directory: Directory,
    settings: Settings,
    name: str,
    api_url: str | None,
    org_id: str | None,
    access_key: str | None,
    secret_key: str | None,
    limit: int | None,
    *,
    attribution: Attribution | None = None,
    show_ticket: bool | None = None,
) -> list[str]:
    """Change the parts that are given; return the other names of the tenant's account."""
    _not_environment(name)
    old = await directory.get(name, keys=access_key is None)
    changed = replace(
        old,
        api_url=api_url or old.api_url,
        org_id=org_id or old.org_id,
        access_key=access_key or old.access_key,
        secret_key=secret_key or old.secret_key,
        calls_per_window=limit or old.calls_per_window,
        attribution=attribution or old.attribution,
        show_ticket=old.show_ticket if show_ticket is None else show_ticket,
    )
    changed = _checked(changed, settings)
    await directory.replace(changed)
    return await _other_names(directory, settings, changed)


async def _other_names(directory: Directory, settings: Settings, tenant: Tenant) -> list[str]:
    """Return the other tenants' names that stand for the same account: one host, one org id."""
    accounts = {}
    for name in await directory.names():
        other = await directory.get(name, keys=False)
        accounts[name] = (api_host(other.api_url), other.org_id)
    if settings.leadsquared_api_url is not None and settings.leadsquared_org_id is not None:
        api_url, org_id = settings.leadsquared_api_url, settings.leadsquared_org_id
        accounts[ENVIRONMENT] = (api_host(api_url), org_id)
    own = accounts.pop(tenant.name)
    return [name for name, account in accounts.items() if account == own]


async def mapped_before(directory: Directory, name: str, scope: Scope) -> str | None:
    """Return the tenant that a scope is mapped to now. The tenant `name` must exist."""
    await directory.get(name, keys=False)
    return await directory.mapped_to(scope)


async def what_goes_with(directory: Directory, name: str) -> Belongings:
    """Return what a tenant has; refuse the one that cannot be removed."""
    _not_environment(name)
    return await directory.belongings(name)


async def remove_tenant(directory: Directory, name: str) -> Belongings:
    _not_environment(name)
    return await directory.remove(name)


async def describe_all(directory: Directory, lines: list[str]) -> None:
    """Add a line per tenant and per mapping."""
    names = await directory.names()
    if not names:
        lines.append("There is no tenant yet. Add one: python -m bot tenants add NAME")
    for name in names:
        await describe(directory, name, lines)


async def describe(directory: Directory, name: str, lines: list[str]) -> None:
    """Add a tenant's lines; of its keys only that they are set."""
    tenant = await directory.get(name, keys=False)
    made_in = f", made in Slack by {tenant.owner}" if tenant.owner else ""
    lines.append(
        f"{tenant.name}: {tenant.api_url}, org ID {tenant.org_id}, "
        f"{tenant.calls_per_window} calls in 5 s, attribution {tenant.attribution}, "
        f"show ticket {'on' if tenant.show_ticket else 'off'}, keys set{made_in}"
    )
    mappings = await directory.mappings(name)
    lines += [f"  {scope}" for scope in mappings] or [
        f"  not mapped yet: python -m bot tenants map {name} --team T…"
    ]


async def changes_of(database: Database, name: str | None, limit: int) -> list[str]:
    """Return a line for each change of a tenant or a workspace, or of all; the newest last."""
    found = await database.run(lambda connection: listed(connection, name, at_most=limit))
    return [_line(change) for change in reversed(found)] or ["There is no change yet."]


def _line(change: Change) -> str:
    at = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    by = change.user_id or "operator"
    where = f" in {change.team_id}" if change.team_id else ""
    what = " ".join(filter(None, (change.what, change.tenant_name)))
    return f"{at} {by}{where}: {what}{f' ({change.detail})' if change.detail else ''}"


def _checked(tenant: Tenant, settings: Settings) -> Tenant:
    if not tenant.name.isprintable() or not tenant.name.strip() or len(tenant.name) > LONGEST_NAME:
        raise TenantError(f"A tenant's name has 1 to {LONGEST_NAME} printable characters.")
    _accept("--org-id", lambda: check_org_id(tenant.org_id))
    _accept("The access key", lambda: check_key(tenant.access_key))
    _accept("The secret key", lambda: check_key(tenant.secret_key))
    address = _accept(
        "--api-url", lambda: parse_address(tenant.api_url, settings.leadsquared_allowed_hosts)
    )
    return replace(tenant, api_url=address.url)


def _accept(what: str, check: Callable[[], T]) -> T:
    try:
        return check()
    except ValueError as error:
        raise TenantError(f"{what}: {error}.") from None


def _not_environment(name: str) -> None:
    if name.startswith(ENVIRONMENT):
        raise TenantError(
            "LEADSQUARED_API_URL, _ORG_ID, _ACCESS_KEY "
            f"and _SECRET_KEY define the tenant {ENVIRONMENT}; change those and restart."
        )
