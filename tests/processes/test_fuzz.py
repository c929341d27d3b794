"""The HTTP surface under rubbish.

Never a 500, nothing unexpected and nothing secret in the log, no growth, and it goes on.

A real process is served, and spoken to over real sockets. What is sent is drawn at random, the
same in every run.
"""

import asyncio
import contextlib
import copy
import gzip
import io
import json
import re
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
import pytest
from slack_sdk.signature import SignatureVerifier

from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.slack.connections import BODY_WITHIN
from support.connections import Client
from support.databases import missing
from support.payloads import EVENT, WHOLE, Payload, broken_parts, shortcut, submission
from support.programs import ANEW, BOT, Serving, serving, until
from support.running import ACCOUNT, ENCRYPTION_KEY, TEAM
from support.signed import FORM, command

WORDS = "Kundengeheimnis"
"""Stands in every text that is sent."""

JSON = "application/json"
LARGEST = 1024 * 1024
EXAMPLES = 1200
"""Mutated payloads of each half.

The two halves are the same kinds of things, so that memory can be compared.
"""

GROWTH = 4.0
"""MiB by which the memory after the second half may exceed that after the first, whose bodies
alone are more.
"""


LEFT_BY_BODIES = 60.0
"""MiB that bodies may leave, of 1.2 GiB that were sent."""

MANY = 4096
"""Files that a test with many connections opens at most."""


# -- what is sent

WEIRD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, 1e308, "", " ", "\0", "x\0y", "\u202e", "\U0001f600", "T0",
    "<!channel>", "../../etc", "A" * 5000, [], [[]], [None], {}, {"id": None}, {"id": "T0HOME"},
    {"": ""}, {"id": {"id": {"id": 1}}}, [{"id": 7}],
]  # fmt: skip
RICH = {
    "type": "rich_text",
    "elements": [
        {
            "type": "rich_text_list",
            "style": "ordered",
            "indent": 2,
            "offset": 3,
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [{"type": "date", "timestamp": 17, "format": "x"}],
                }
            ],
        },
        {
            "type": "rich_text_quote",
            "elements": [{"type": "emoji", "name": "wave", "skin_tone": 2}],
            "border": 1,
        },
    ],
}
VALID: dict[str, Payload] = {
    **WHOLE,
    "command": command(text=f"143 {WORDS}"),
    "event": EVENT,
    "ssl_check": {"ssl_check": "1", "token": "x"},
    "url_verification": {"type": "url_verification", "challenge": "c", "token": "t"},
    "a message with blocks": shortcut()
    | {"message": {"ts": "1790000000.000100", "text": WORDS, "blocks": [RICH]}},
    "another form": submission(
        private_metadata=json.dumps({"team": TEAM, "channel": "C0SUPPORT", "joins": ["\n"]})
    ),
}


def mutated(chance: Random) -> Payload:
    """A payload of one kind, changed anywhere.

    Some of its values are another payload's, of another type, gone or doubled.
    """
    payload = copy.deepcopy(VALID[chance.choice(sorted(VALID))])
    for _ in range(chance.randint(1, 4)):
        if not (places := _places(payload)):
            break
        holder, at = chance.choice(places)
        match chance.choice(["weird", "weird", "weird", "another", "gone", "nested", "wrapped"]):
            case "gone":
                del holder[at]
            case "another":
                other, there = chance.choice(places)
                holder[at] = copy.deepcopy(
                    other[there] if there in other or isinstance(other, list) else None
                )
            case "nested":
                holder[at] = _nested(chance.choice([3, 90, 150]), holder[at])
            case "wrapped":
                holder[at] = [holder[at]]
            case _:
                holder[at] = copy.deepcopy(chance.choice(WEIRD))
    return payload


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each place in a value, as what holds it and the key or index."""
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [
        *((value, at) for at, _ in inner),
        *(place for _, one in inner for place in _places(one)),
    ]


def _nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = {"message": value, "event": [value] if depth < 10 else None}
    return value


@dataclass(frozen=True, slots=True)
class Sent:
    """A request to the bot."""

    body: bytes
    content_type: str = FORM
    signed: bool = True
    path: str = "/slack/events"
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    age: int = 0

    def all_headers(self) -> dict[str, str]:
        timestamp = str(int(time.time()) - self.age)
        text = self.body.decode("utf-8", "replace")
        secret = SIGNING_SECRET if self.signed else "another"
        signature = (
            SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=text) or ""
        )
        own = {
            "Content-Type": self.content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
        }
        return own | dict(self.headers)


def as_sent(payload: Payload) -> Sent:
    if "type" in payload and payload["type"] in ("event_callback", "url_verification"):
        return Sent(json.dumps(payload).encode(), JSON)
    fields = (
        payload
        if "command" in payload or "ssl_check" in payload
        else {"payload": json.dumps(payload)}
    )
    return Sent(
        urlencode(
            {name: one if isinstance(one, str) else json.dumps(one) for name, one in fields.items()}
        ).encode()
    )


BROKEN: tuple[Callable[[bytes, int], bytes], ...] = (
    lambda whole, at: whole[:at],
    lambda whole, at: whole[:at] + b"\xff\xfe\x00" + whole[at:],
    lambda whole, at: whole[:at] + b"%zz%" + whole[at:],
    lambda whole, at: whole[:at] + b"%ff%00%ed%a0%80" + whole[at:],
    lambda whole, _: whole + b"&" + whole,
    lambda whole, _: b"payload=1&" + whole + b"&payload=[]&payload=",
    lambda whole, _: whole.replace(b"=", b"&"),
    lambda _, __: b"&;=&&==%",
    lambda whole, _: b'{"type":' + whole,
    lambda _, at: b"[" * (at + 1),
    lambda _, at: b'{"a":' * (at * 20 + 1),
    lambda _, at: b"payload=" + b"%7B%22a%22%3A" * (at + 1),
    lambda _, at: b"&".join(b"f%d=1" % number for number in range(at * 10)),
    lambda _, at: b'{"type":"event_callback","event":{"n":' + b"9" * (at * 10 + 1) + b"}}",
    lambda _, __: b'{"type":"\\ud800"}',
    lambda _, __: b"\xef\xbb\xbf{}",
)
"""Ways to break a whole body, at a place in it."""

CONTENT_TYPES = (
    FORM,
    JSON,
    "application/json; charset=utf-16",
    "text/plain",
    "multipart/form-data",
    "x",
    "",
)
PATHS = (
    *["/slack/events"] * 6, "/", "/slack", "/slack/events/", "/%00", "/healthz", "//..//",
)  # fmt: skip
METHODS = (*["POST"] * 8, "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW")
HEADERS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (),
    (("X-Slack-Bolt-Lazy-Only", "1"), ("X-Slack-Bolt-Lazy-Function-Name", "submit")),
    (("X-Slack-Retry-Num", "x"), ("X-Slack-Signature", "v0=\u00fc")),
    (("X-Slack-Request-Timestamp", "9" * 300),),
    (("Content-Encoding", "br"),),
    (("Expect", "100-continue"),),
)


def rubbish(chance: Random) -> Sent:
    """Anything.

    What is not UTF-8, forms and JSON that are broken, in any content type, by any method,
    anywhere.
    """
    whole = as_sent(VALID[chance.choice(sorted(VALID))]).body
    return Sent(
        chance.choice(BROKEN)(whole, chance.randint(0, len(whole))),
        chance.choice(CONTENT_TYPES),
        signed=chance.choice([True, True, True, False]),
        age=chance.choice([0, 0, 0, 400, -400, 10**9]),
        path=chance.choice(PATHS),
        method=chance.choice(METHODS),
        headers=chance.choice(HEADERS),
    )


# -- the bot that is spoken to


@dataclass
class Target:
    """A served bot, and how it is spoken to."""

    process: Serving
    url: str
    session: aiohttp.ClientSession
    leadsquared: LeadSquaredStandIn

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    async def send(self, sent: Sent) -> int:
        """Send a request; return the status, or 0 where the bot closed the connection instead."""
        try:
            async with self.session.request(
                sent.method,
                f"{self.url}{sent.path}",
                data=io.BytesIO(sent.body),
                headers=sent.all_headers(),
                allow_redirects=False,
            ) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, ConnectionError):
            return 0

    async def all(self, requests: list[Sent]) -> set[int]:
        """Send many, eight at a time."""
        waiting = iter(requests)
        found: set[int] = set()

        async def some() -> None:
            for sent in waiting:
                status = await asyncio.wait_for(self.send(sent), 20)
                assert status < 500, (status, sent)
                found.add(status)

        await asyncio.gather(*(some() for _ in range(8)))
        return found

    def memory(self) -> float:
        """Return the resident memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


FEW_FILES = ("bash", "-c", 'ulimit -n 1024; exec "$@"', "bash", *BOT)
"""Starts a process that may open 1,024 files and no more, as in many containers."""


@pytest.fixture
def start_by() -> Sequence[str]:
    """Return how the process that is served is started: with no memory but its own.

    A test may have another way as a parameter.
    """
    return (*ANEW, *BOT)


@pytest.fixture
async def target(
    start_by: Sequence[str],
    url: str,
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> AsyncIterator[Target]:
    variables = environment | {"DATABASE_URL": url, "LOG_LEVEL": "INFO"}
    with serving("run", cwd=tmp_path, variables=variables, command=start_by) as process:
        address = await process.url()
        await process.logged("slack_identified")
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True)
        ) as session:
            target = Target(process, address, session, leadsquared)
            yield target
            assert_sound(target)


def assert_sound(target: Target) -> None:
    """Nothing unexpected in the log, and nothing secret; the bot lives."""
    log = target.process.log
    secrets = [
        BOT_TOKEN,
        SIGNING_SECRET,
        ENCRYPTION_KEY,
        ACCOUNT.access_key,
        ACCOUNT.secret_key,
        WORDS,
        "/response/",
        "v0=",
    ]
    assert target.process.status is None
    assert broken_parts(log.replace("telling_failed", "").replace("click_not_answered", "")) == []
    assert [secret for secret in secrets if secret in log] == []


async def recorded_once(target: Target, name: str) -> None:
    """Record an ordinary command, sent twice as Slack does, and find it on the ticket once."""
    sent = Sent(
        urlencode(command(text=f"145 {name}", trigger_id=f"{name}.{time.time_ns()}")).encode()
    )
    assert [await target.send(sent), await target.send(sent)] == [200, 200]

    def there() -> list[str]:
        return [one.text for one in target.leadsquared.on("145") if one.text == name]

    async with asyncio.timeout(30):
        while not there():
            await asyncio.sleep(0.02)
    assert there() == [name]


async def test_mutated_payloads_and_rubbish_break_nothing_and_leave_nothing(target: Target) -> None:
    chance = Random(0)  # noqa: S311 - the same in every run
    requests = [
        *(as_sent(mutated(chance)) for _ in range(2 * EXAMPLES)),
        *(rubbish(chance) for _ in range(2 * EXAMPLES)),
    ]
    await target.all(requests[::2])
    await recorded_once(target, "first half")
    first = target.memory()
    answers = await target.all(requests[1::2])
    await recorded_once(target, "second half")
    second = target.memory()

    assert {200, 400, 401, 404, 405} <= answers, "some of it went deep, and some did not"
    assert second < first + GROWTH, (first, second)


# -- bodies that are large, slow, or never end


async def large(target: Target) -> None:
    text = f"143 {WORDS} " + "x" * 3 * LARGEST
    body = urlencode(command(text=text)).encode()
    zipped = gzip.compress(b"a" * 40 * LARGEST)  # 40 MiB in 40 kB
    gzipped = (("Content-Encoding", "gzip"),)
    fields = "&".join(f"{quote_plus(WORDS)}{number}=1" for number in range(40_000)).encode()
    assert await target.send(Sent(body)) in (0, 413)
    assert await target.send(Sent(zipped, headers=gzipped)) in (0, 400, 401, 413)
    assert await target.send(Sent(b"\x1f\x8b rubbish", headers=gzipped)) in (0, 400, 401)
    assert await target.send(Sent(fields)) in (400, 413)
    assert await target.send(
        Sent(json.dumps({"type": "x", "a": [0] * 300_000}).encode(), JSON)
    ) in (400, 404)
    assert await chunked(target, [b"text=" + b"x" * 65536] * 64) in (0, 413)


async def chunked(target: Target, chunks: list[bytes]) -> int:
    """Send a body whose length no header names."""

    async def parts() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    headers = Sent(b"").all_headers()
    try:
        async with target.session.post(
            f"{target.url}/slack/events", data=parts(), headers=headers
        ) as response:
            return response.status
    except (aiohttp.ClientError, ConnectionError):
        return 0


async def half_closed(target: Target) -> None:
    """Begin a request in each way, and go away in the middle, or say no more."""
    body = urlencode(command(text=f"143 {WORDS}")).encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in Sent(body).all_headers().items())
    head = (
        f"POST /slack/events HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    for begun in (
        b"",
        b"POST",
        b"\x16\x03\x01\x02\x00",
        head[:40],
        head,
        head + body[:9],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0" * 99,
    ):
        reader, writer = await asyncio.open_connection(*target.address)
        writer.write(begun)
        if writer.can_write_eof():
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(200), 20)
        assert not answer.startswith(b"HTTP/1.1 5"), (begun, answer)
        writer.close()


async def slow(target: Target) -> None:
    """Send an ordinary command a byte at a time; it is accepted."""
    sent = Sent(
        urlencode(command(text=f"144 {WORDS}", trigger_id=f"slow.{time.time_ns()}")).encode()
    )
    headers = "".join(f"{name}: {value}\r\n" for name, value in sent.all_headers().items())
    head = (
        f"POST {sent.path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(sent.body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection(*target.address)
    for byte in head + sent.body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
    writer.close()


ROUNDS: tuple[Callable[[Target], Awaitable[None]], ...] = (large, half_closed, slow)


async def test_bodies_that_are_large_slow_or_never_end_break_nothing_and_leave_nothing(
    target: Target,
) -> None:
    sizes = []
    for number in range(8):
        for one in ROUNDS:
            await one(target)
        await recorded_once(target, f"round {number}")
        sizes.append(target.memory())

    # The allocator keeps what the largest bodies of the first rounds needed.
    assert sizes[7] < sizes[3] + GROWTH, sizes


# -- more of them than there is room for


HEAD = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


async def abandoned(target: Target) -> None:
    """Send nearly all of a body of 1 MiB, on 300 connections at the same time, and go away."""

    async def one() -> None:
        client = await Client.to(target.address, HEAD % LARGEST)
        client.writer.write(b"x" * 1_040_000)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(client.writer.drain(), 20)
        client.close()

    await asyncio.gather(*(one() for _ in range(300)))


async def test_unsigned_bodies_that_break_off_leave_nothing_in_memory(target: Target) -> None:
    await recorded_once(target, "before")
    before = target.memory()
    sizes = []
    for number in range(4):
        await abandoned(target)
        await recorded_once(target, f"round {number}")
        sizes.append(target.memory())

    assert max(sizes) < before + LEFT_BY_BODIES, (before, sizes)


async def test_bodies_that_never_end_are_bounded_and_keep_no_command_out(target: Target) -> None:
    clients = [await Client.to(target.address, HEAD % LARGEST) for _ in range(40)]
    before = target.memory()
    for client in clients:
        client.writer.write(b"x" * 1_000_000)
    await asyncio.gather(*(client.writer.drain() for client in clients))
    # 16 MiB have room for 16 of them. The others hear 503 before their bodies' time is up.
    answers = asyncio.gather(*(client.reader.readuntil(b"\r\n\r\n") for client in clients[16:]))
    heads = await asyncio.wait_for(answers, BODY_WITHIN - 1)
    assert {head[:12] for head in heads} == {b"HTTP/1.1 503"}
    assert all(b"\r\nRetry-After: 10\r\n" in head for head in heads)
    assert target.memory() < before + LEFT_BY_BODIES
    await recorded_once(target, "beside")
    assert [client for client in clients[:16] if client.reader.at_eof()] == []
    for client in clients:
        client.close()


@pytest.mark.parametrize("start_by", [FEW_FILES])
async def test_commands_are_recorded_while_1500_slow_connections_stand(target: Target) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY:
        missing(f"the test opens more files than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY), hard))
    kinds = (b"", HEAD[:40], HEAD % 1000 + b"abc")
    opened = 0
    stop = asyncio.Event()

    async def attack(kind: bytes) -> None:
        """Keep 50 connections, and open each anew that is closed."""
        nonlocal opened
        mine = [await Client.to(target.address, kind) for _ in range(50)]
        opened += len(mine)
        while not stop.is_set():
            for number, client in enumerate(mine):
                if client.reader.at_eof() or client.reader.exception() is not None:
                    client.close()
                    mine[number] = await Client.to(target.address, kind)
            await asyncio.sleep(0.05)
        for client in mine:
            client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(attack(kinds[number % 3]))
        await until(lambda: opened == 1500)
        for number in range(10):
            began = time.monotonic()
            await recorded_once(target, f"beside {number}")
            assert time.monotonic() - began < 10
            async with target.session.get(f"{target.url}/readyz") as response:
                assert response.status == 200
        stop.set()
    await target.process.logged("connections_dropped")
    await recorded_once(target, "afterwards")


async def test_a_connection_that_says_nothing_more_keeps_nobody_waiting(target: Target) -> None:
    head = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
    opened = [await asyncio.open_connection(*target.address) for _ in range(200)]
    for _, writer in opened:
        writer.write(head)
    await recorded_once(target, "meanwhile")
    for _, writer in opened:
        writer.transport.abort()
    await recorded_once(target, "afterwards")
