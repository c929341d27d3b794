"""What the stand-ins share: an aiohttp server on this machine.

It can be stopped and started again on its port.
"""

from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.playground.traffic import Traffic

HOST = "127.0.0.1"


class StandIn:
    """A server on a free port of this machine. Subclasses add their routes in `routes`.

    `traffic`, where it is set before the start, has what the bot asked of it.
    """

    name = "stand-in"

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.traffic: Traffic | None = None

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one.

        Do nothing if it listens already.
        """
        if self._runner is not None:
            return
        middlewares = [] if self.traffic is None else [self._watched(self.traffic)]
        application = web.Application(client_max_size=4 * 1024 * 1024, middlewares=middlewares)
        application.add_routes(self.routes())
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _watched(self, traffic: Traffic) -> Middleware:
        """Return what writes each request and its answer into the traffic."""

        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(("/socket/", "/oauth/", "/_")):
                return await handler(request)  # a websocket's messages are written one by one
            body = await request.read()
            exchange = traffic.begin(
                f"bot → {self.name}",
                f"{request.method} {request.path}",
                body or request.query_string,
                request.headers,
            )
            try:
                response = await handler(request)
            except BaseException:
                traffic.end(exchange, "no answer")
                raise
            answer = response.body if isinstance(response, web.Response) else b""
            traffic.end(exchange, response.status, answer if isinstance(answer, bytes) else b"")
            return response

        return watch

    async def stop(self) -> None:
        """Stop listening: connections are refused from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
