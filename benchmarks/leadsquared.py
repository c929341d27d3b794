"""LeadSquared at a distance, as a process of its own.

Start it with `python -m benchmarks.leadsquared '<plan as JSON>'`.

The playground's stand-in, which counts a call when it arrives and refuses the 26th in any 5
seconds, with a way to it and a way back that take differently long for every call. `/_ledger`
tells what arrived.
"""

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass

from aiohttp import web

from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn


@dataclass(frozen=True)
class Distance:
    """Where to listen, who may call how often, the tickets, and the distance in seconds at most."""

    port: int
    org_ids: tuple[str, ...]
    tickets: tuple[str, ...]
    calls_per_window: int
    there: float
    back: float


def account(org_id: str) -> Account:
    """Return the account of an organisation; its keys are made up."""
    return Account(org_id, f"access-key-of-{org_id}", f"secret-key-of-{org_id}")


class DistantLeadSquared(LeadSquaredStandIn):
    """The stand-in behind a network that takes its time."""

    def __init__(self, distance: Distance) -> None:
        super().__init__(
            [account(org_id) for org_id in distance.org_ids],
            dict.fromkeys(distance.tickets, Behaviour.FINE),
        )
        self.port = distance.port
        self.calls_per_window = distance.calls_per_window
        self._distance = distance
        self._on_the_way: list[float] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/_ledger", self._tell_ledger), *super().routes()]

    async def _tell_ledger(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {"calls": [asdict(call) for call in self.ledger.calls], "on_the_way": self._on_the_way}
        )

    async def _portal_activity(self, request: web.Request) -> web.StreamResponse:
        there, back = random.random() * self._distance.there, random.random() * self._distance.back
        await asyncio.sleep(there)
        response = await super()._portal_activity(request)
        await asyncio.sleep(back)
        self._on_the_way.append(there + back)
        return response


async def _serve(distance: Distance) -> None:
    async with DistantLeadSquared(distance):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Distance(**json.loads(sys.argv[1]))))
