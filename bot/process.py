"""A process's life: start, become ready, serve, and stop without losing anything."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import sqlalchemy as sa
import structlog

from bot.activities.at_start import find_at_start, retry_undecipherable
from bot.app import Parts, build
from bot.database.stored import examine, unreadable
from bot.database.writer import DatabaseUnavailableError
from bot.installations.single import Identity, SingleInstallation
from bot.leadsquared.tenant import ENVIRONMENT, Attribution, Tenant
from bot.settings import DEFAULT_PORT, Settings
from bot.slack.connections import listening
from bot.slack.front import http_application
from bot.slack.sockets import SocketMode
from bot.slack.web import Never, NotNow
from bot.tenants.directory import NOBODY, Scope

_log = structlog.get_logger(__name__)

TRY_AGAIN = 2.0
LONGEST_PAUSE = 60.0

IDENTIFIED_WITHIN = 10.0
"""Seconds that sending waits for Slack to say whose the token is, when the variables name another
account.
"""

ASK_AGAIN = 300.0
"""Seconds between two checks of the bot token with Slack: an idle bot would not notice otherwise.
"""

READY_WITHIN = 2.0
"""Seconds that the database has to answer in before it counts as away."""

CLOSING = 2.0
"""Seconds of the grace kept for closing connections."""


class CannotListenError(Exception):
    """The HTTP server's address cannot be listened on."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def serve(settings: Settings, *, surface: bool) -> None:
    """Build the parts and serve until SIGTERM or SIGINT."""
    async with build(settings) as parts:
        # What has been imported and wired stays to the end: the garbage collector need not go
        # through it at every few hundred requests. Measured: 15 % more commands a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()
        await Process(parts, surface=surface).run(stop_on_signals())


class Process:
    """Runs the worker and, with `surface`, what people see in Slack, until `stop` is set."""

    def __init__(self, parts: Parts, *, surface: bool) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._surface = surface
        self._socket: SocketMode | None = None
        self._holding: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._unreadable: str | None = None
        self._examined = asyncio.Event()
        self._identified = asyncio.Event()
        self._prepared = asyncio.Event()

    async def run(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Serve until `stop`.

        After that, take nothing new, finish what is in flight, and leave the rest for the next
        start.
        """
        async with AsyncExitStack() as stack:
            await self._examine()
            if self._surface:
                await self._open(stack)  # first: what cannot listen must not have claimed anything
            preparing = asyncio.create_task(self._prepare())
            preparing.add_done_callback(lambda task: stop.set() if _failed(task) else None)
            loops = [
                asyncio.create_task(_keep_going("worker", self._work), name="worker"),
                asyncio.create_task(_keep_going("teller", self._parts.teller.run), name="teller"),
            ]
            beside = [preparing, *self._learning()]
            beside.append(asyncio.create_task(_keep_going("retention", self._erase)))
            if self._parts.verifier is not None:
                beside.append(
                    asyncio.create_task(_keep_going("verifier", self._parts.verifier.run))
                )
            if self._parts.announcements is not None:
                beside.append(
                    asyncio.create_task(_keep_going("announcements", self._parts.announcements.run))
                )
            stack.push_async_callback(_cancel, [*loops, *beside])
            try:
                _log.info(
                    "started",
                    surface=self._surface,
                    port=self.port,
                    socket_mode=self._socket is not None,
                )
                if started is not None:
                    started()
                await stop.wait()
                _log.info("stopping")
                await self._close_surface()
            finally:
                await self._finish(loops)
            if _failed(preparing):
                # The database was away at first, and then showed that the secret is another one.
                preparing.result()
        _log.info("stopped")

    @property
    def port(self) -> int | None:
        """The port that the HTTP server listens on; None when it does not."""
        sockets = () if self._server is None else self._server.sockets
        return sockets[0].getsockname()[1] if sockets else None

    async def ready(self) -> dict[str, bool | str]:
        """Say of each thing that serving depends on whether it is there.

        A text says what else an admin should know.
        """
        checks: dict[str, bool | str] = {
            "database": await self._database_answers(),
            "slack": self._parts.installations.scope not in (None, NOBODY),
        }
        if self._socket is not None:
            checks["socket_mode"] = await self._socket.connected()
        if self._parts.single is not None and self._parts.single.refusal is not None:
            checks["slack_says"] = self._parts.single.refusal
        if self._parts.many is not None and (number := self._parts.many.known.number) is not None:
            checks["installations"] = str(number)
        if self._unreadable is not None:
            checks["encryption"] = self._unreadable
        return checks

    async def _examine(self) -> None:
        """Examine what is stored before anything is sent.

        Raise UnusableSecretError when the secret is another one.
        """
        database = self._parts.database
        try:
            examined = await examine(database, self._parts.keyring)
            self._examined.set()
            if examined.unreadable:
                self._unreadable = unreadable(examined)
                _log.error(
                    "values_cannot_be_decrypted",
                    unreadable=examined.unreadable,
                    examined=examined.values,
                )
            found = await find_at_start(database)
            if found.looks_restored:
                age = round(found.newest_ago)
                _log.warning(
                    "database_looks_restored", waiting=found.waiting, newest_seconds_ago=age
                )
            await retry_undecipherable(database)
        except DatabaseUnavailableError as error:
            # The start goes on: people read that nothing was kept. Nothing is sent or written
            # before it is examined.
            _log.warning("database_unavailable", reason=str(error))

    async def _prepare(self) -> None:
        """Examine the database before anything is sent, and update the environment's tenant."""
        while not self._examined.is_set():
            await asyncio.sleep(TRY_AGAIN)
            await self._examine()
        agrees = not self._surface or await self._use_environment(
            environment_tenant(self._settings), None
        )
        if not agrees and self._parts.single is not None:
            # The variables name another account. Whether it is this workspace's, Slack says.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._identified.wait(), IDENTIFIED_WITHIN)
        self._prepared.set()

    async def _work(self) -> None:
        await self._prepared.wait()
        await self._parts.worker.run()

    async def _erase(self) -> None:
        await self._prepared.wait()
        await self._parts.retention.run()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        if settings.slack_app_token is None or settings.port is not None:
            many = self._parts.many
            application = http_application(
                self._parts.bolt,
                self._parts.signing_secret,
                self.ready,
                None if many is None else many.install,
            )
            port = DEFAULT_PORT if settings.port is None else settings.port
            server = listening(application, settings.bind_host, port, shutdown_timeout=CLOSING / 4)
            try:
                self._server = await stack.enter_async_context(server)
            except OSError as error:
                raise CannotListenError(error) from error
        if settings.slack_app_token is not None:
            token = settings.slack_app_token.get_secret_value()
            client, connections = self._parts.web.client(token), settings.slack_socket_connections
            self._socket = SocketMode(self._parts.bolt, token, client, connections=connections)
            stack.push_async_callback(self._close_socket)
            self._holding = asyncio.create_task(_keep_going("socket_mode", self._socket.run))

    async def _close_surface(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._close_socket()

    async def _close_socket(self) -> None:
        if self._holding is not None:
            await _cancel([self._holding])
        if self._socket is not None:
            await self._socket.close()

    async def _finish(self, loops: list[asyncio.Task[None]]) -> None:
        until = time.monotonic() + self._settings.shutdown_grace - CLOSING
        parts = self._parts
        parts.worker.stop()
        parts.teller.stop()
        if not self._prepared.is_set():
            loops[0].cancel()  # it waits for the database
        await asyncio.wait(loops, timeout=until - time.monotonic())
        in_flight = await parts.worker.finish(until - time.monotonic())
        # What was just settled is told as well, even when a call that hangs has used the time up.
        untold = await parts.teller.finish(max(until - time.monotonic(), CLOSING / 2))
        await parts.background.finish(CLOSING / 4)
        if parts.many is not None:
            await parts.many.refresh.finish(max(until - time.monotonic(), CLOSING / 4))
        await self._log_what_is_left(in_flight, untold)

    async def _log_what_is_left(self, in_flight: int, untold: int) -> None:
        """Count what the next start goes on with, or another process on the same database."""
        waiting = 0
        with contextlib.suppress(DatabaseUnavailableError):
            waiting = (await self._parts.outbox.waiting(answer_within=CLOSING / 4)).number
            untold = await self._parts.outbox.untold(answer_within=CLOSING / 4)
        if waiting or in_flight or untold:
            left = {"waiting": waiting, "in_flight": in_flight, "untold": untold}
            _log.warning("left_for_the_next_start", unsent=waiting + in_flight, **left)

    async def _database_answers(self) -> bool:
        try:
            # Somebody waits: else people would go first, for longer than that.
            await self._parts.database.run(
                lambda connection: connection.execute(sa.text("SELECT 1")).scalar(),
                answer_within=READY_WITHIN,
            )
        except DatabaseUnavailableError:
            return False
        return True

    def _learning(self) -> list[asyncio.Task[None]]:
        """Begin to learn where the bot may speak."""
        loops: dict[str, Callable[[], Awaitable[None]]] = {}
        if self._parts.single is not None:
            single = self._parts.single
            loops["identify"] = lambda: self._identify(single)
        if self._parts.many is not None:
            loops["installations"] = self._parts.many.known.run
            loops["token_refresh"] = self._parts.many.refresh.run
        return [
            asyncio.create_task(_keep_going(name, run), name=name) for name, run in loops.items()
        ]

    async def _identify(self, installation: SingleInstallation) -> None:
        """Learn whose the bot token is, and whether Slack still takes it.

        Map its workspace to the environment's tenant.
        """
        token = self._settings.slack_bot_token
        pause = TRY_AGAIN
        while token is not None:
            match await self._parts.web.identify(token.get_secret_value()):
                case Identity() as identity:
                    await self._learn(installation, identity)
                    pause = TRY_AGAIN
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(installation.refused.wait(), ASK_AGAIN)
                    if installation.refusal is None:
                        continue
                    _log.error("slack_token_refused", reason=installation.refusal)
                case Never(error):
                    installation.refuse(token.get_secret_value(), error)
                    _log.error("slack_token_refused", reason=error)
                case NotNow(reason):
                    _log.warning("slack_not_identified", reason=reason)
            self._parts.teller.wake()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _learn(self, installation: SingleInstallation, identity: Identity) -> None:
        if identity == installation.identity and installation.refusal is None:
            return
        if self._surface:
            await self._examined.wait()
            await self._use_environment(environment_tenant(self._settings), identity.scope)
        installation.learn(identity)
        self._identified.set()
        self._parts.teller.wake()
        _log.info("slack_identified", team=identity.team_id, enterprise=identity.enterprise_id)

    async def _use_environment(self, tenant: Tenant | None, scope: Scope | None) -> bool:
        while True:
            try:
                return await self._parts.directory.use_environment(tenant, scope)
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
                await asyncio.sleep(TRY_AGAIN)


def environment_tenant(settings: Settings) -> Tenant | None:
    """Return the tenant that LEADSQUARED_* describe, if they do."""
    url, org_id = settings.leadsquared_api_url, settings.leadsquared_org_id
    access, secret = settings.leadsquared_access_key, settings.leadsquared_secret_key
    if url is None or org_id is None or access is None or secret is None:
        return None
    return Tenant(
        ENVIRONMENT,
        url,
        org_id,
        access.get_secret_value(),
        secret.get_secret_value(),
        attribution=Attribution(settings.leadsquared_attribution),
        show_ticket=settings.leadsquared_show_ticket,
    )


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _keep_going(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run to the end.

    When an unexpected exception ends it, log that and begin again.
    """
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - see above; it is logged
            _log.exception("loop_failed", loop=name)
            await asyncio.sleep(TRY_AGAIN)
        else:
            return


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()  # again: what ends a wait at that very moment may hide a cancellation
        _, pending = await asyncio.wait(pending, timeout=1)
