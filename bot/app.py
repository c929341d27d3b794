"""build(settings): the only place where parts are constructed and wired."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from bot.activities.acceptance import Acceptance
from bot.activities.delivery import Delivery
from bot.activities.outbox import Outbox
from bot.activities.recent import Recent
from bot.activities.retention import Retention
from bot.activities.teller import Teller
from bot.activities.tellings import Tellings
from bot.activities.titles import Titles
from bot.activities.verifications import Verifications
from bot.activities.verifier import VERIFY_AFTER, Verifier
from bot.activities.worker import Worker
from bot.database.announcements import Announcements
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.installations.access import Installations
from bot.installations.client import OAuthClient
from bot.installations.known import KnownInstallations
from bot.installations.refresh import TokenRefresh
from bot.installations.single import SingleInstallation
from bot.installations.store import InstallationStore, StateStore
from bot.keys import keyring
from bot.leadsquared.client import LeadSquared
from bot.settings import Settings
from bot.slack.attribution import SlackAttribution
from bot.slack.background import Background
from bot.slack.bolt import Feature, bolt_application
from bot.slack.buttons import Buttons
from bot.slack.commands import Commands
from bot.slack.conversations import SlackConversations
from bot.slack.forms import Forms
from bot.slack.home import Home, Homes
from bot.slack.install import Install
from bot.slack.modals_api import SlackModals
from bot.slack.names import SlackNames
from bot.slack.previews import Previews
from bot.slack.removals import Removals
from bot.slack.replies import Responder, SlackReplies
from bot.slack.reports import Reports
from bot.slack.roles import SlackRoles
from bot.slack.setup import Setup
from bot.slack.shared import Shared
from bot.slack.shortcuts import Shortcuts
from bot.slack.web import SlackWeb
from bot.tenants.connections import Connections
from bot.tenants.directory import Directory


@dataclass(frozen=True, slots=True)
class Many:
    """What serves many workspaces, each with an installation of its own."""

    store: InstallationStore
    known: KnownInstallations
    refresh: TokenRefresh
    install: Install


@dataclass(frozen=True)
class Parts:
    """Everything a process is made of, wired."""

    settings: Settings
    database: Database
    directory: Directory
    acceptance: Acceptance
    outbox: Outbox
    keyring: Keyring
    worker: Worker
    teller: Teller
    retention: Retention
    verifier: Verifier | None  # None: what is unknown is left to people
    announcements: Announcements | None  # None: SQLite announces nothing
    background: Background
    installations: Installations
    single: SingleInstallation | None  # None: workspaces install the bot by OAuth
    many: Many | None
    web: SlackWeb
    bolt: AsyncApp
    signing_secret: str | None = field(
        repr=False
    )  # None: Slack reaches the bot by Socket Mode, or not at all


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Construct and wire all parts, and take them down again.

    The database must have been migrated.
    """
    async with AsyncExitStack() as stack:
        keys = keyring(settings)
        database = Database(settings.sqlalchemy_url)
        stack.push_async_callback(database.close)
        single, store, known = None, None, None
        installations: Installations
        if settings.serves_many:
            store = InstallationStore(database, keys)
            installations = known = KnownInstallations(
                store,
                keys,
                poll_interval=settings.poll_interval,
                on_granted=lambda: teller.wake(),  # noqa: PLW0108 - the teller is made below
            )
        else:
            installations = single = SingleInstallation(_secret(settings.slack_bot_token))
        slack = await stack.enter_async_context(
            SlackWeb(settings.slack_api_url, installations.refuse)
        )
        leadsquared = await stack.enter_async_context(leadsquared_client(settings))
        names = SlackNames(slack, installations)
        conversations = SlackConversations(slack, installations, names)
        attribution = SlackAttribution(names, conversations)
        recent = Recent(database, keys)
        roles = SlackRoles(slack, installations)
        homes = Homes(slack, installations, roles, recent)
        stack.push_async_callback(homes.close)
        verifies = settings.leadsquared_look_after_unknown
        verify_after = VERIFY_AFTER[0] if verifies else None
        outbox = Outbox(database, keys, lease=settings.lease, verify_after=verify_after)
        teller = Teller(
            Tellings(database, keys, lease=settings.lease),
            SlackReplies(slack, installations),
            retry_for=settings.retry_for,
            poll_interval=settings.poll_interval,
            on_told=homes.changed,
        )
        worker = Worker(
            outbox,
            leadsquared,
            teller,
            attributes=attribution,
            retry_for=settings.retry_for,
            poll_interval=settings.poll_interval,
            begin_within=settings.begin_within,
            on_settled=homes.changed,
        )

        def decided(delivery: Delivery) -> None:
            teller.wake()
            homes.changed(delivery)

        titles = Titles(database, keys, leadsquared, on_named=teller.wake)
        stack.push_async_callback(titles.close)
        acceptance = Acceptance(
            database,
            keys,
            on_accepted=worker.wake,
            on_decided=decided,
            on_untitled=titles.name,
        )
        verifier = None
        if verifies:
            verifier = Verifier(
                Verifications(database, keys, lease=settings.lease, after=VERIFY_AFTER),
                leadsquared,
                teller,
                poll_interval=settings.poll_interval,
                begin_within=settings.begin_within,
            )
        announcements = (
            None
            if settings.on_sqlite
            else Announcements(
                database,
                worker.hear,
                worker.poll_now,
                (lambda: None) if known is None else known.changed,
            )
        )
        background = Background()
        responder = Responder(slack, background, homes.say)
        signing_secret = (
            None if settings.slack_app_token else _secret(settings.slack_signing_secret)
        )
        modals = SlackModals(slack, installations)

        shared = Shared(
            acceptance, responder, background, installations, settings.leadsquared_allowed_hosts
        )
        previews = Previews(acceptance, attribution, titles)
        forms = Forms(shared, modals, conversations, keys, previews)
        setup = Setup(
            shared,
            modals,
            roles,
            Connections(database, keys),
            leadsquared,
            keys,
            settings.leadsquared_allowed_hosts,
        )
        subcommands = {
            "recent": Reports(recent).recent,
            "status": Reports(recent).status,
            "setup": setup.command,
        }
        features: list[Feature] = [
            Commands(shared, names, forms, subcommands),
            setup,
            Shortcuts(shared, modals, conversations, keys, previews),
            forms,
            Buttons(shared, forms),
            Home(homes),
        ]
        if store is not None and known is not None:
            features.append(Removals(store, known))
        bolt = bolt_application(slack.client(None), responder, features)
        yield Parts(
            settings,
            database,
            Directory(database, keys),
            acceptance,
            outbox,
            keys,
            worker,
            teller,
            Retention(
                database,
                text_days=settings.retention_days,
                audit_days=settings.audit_days,
            ),
            verifier,
            announcements,
            background,
            installations,
            single,
            _many(settings, database, keys, slack, store, known),
            slack,
            bolt,
            signing_secret,
        )


def _many(
    settings: Settings,
    database: Database,
    keys: Keyring,
    slack: SlackWeb,
    store: InstallationStore | None,
    known: KnownInstallations | None,
) -> Many | None:
    """Return what serves many workspaces, where the settings ask for that."""
    client_id, client_secret = settings.slack_client_id, _secret(settings.slack_client_secret)
    if store is None or known is None or client_id is None or client_secret is None:
        return None
    client = slack.client(None)
    rotator = AsyncTokenRotator(
        client_id=client_id, client_secret=client_secret, client=OAuthClient(client)
    )
    install = Install(
        client, settings.slack_api_url, client_id, client_secret, store, StateStore(database), known
    )
    return Many(store, known, TokenRefresh(store, known, keys, rotator), install)


def leadsquared_client(settings: Settings) -> LeadSquared:
    """Return the client for LeadSquared that the settings describe, to be entered."""
    return LeadSquared(
        settings.leadsquared_allowed_hosts,
        connect_timeout=settings.leadsquared_connect_timeout,
        read_timeout=settings.leadsquared_read_timeout,
        deadline=settings.call_deadline,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
