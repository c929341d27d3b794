"""A person at a Chromium: finds things by role and name, as a screen reader does, and uses them.

It speaks the browser's own protocol (CDP) over a websocket: https://chromedevtools.github.io.
"""

import asyncio
import base64
import contextlib
import itertools
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.programs import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)
_KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "ArrowUp": (38, ""),
         "ArrowDown": (40, ""), "End": (35, "")}  # fmt: skip
_WRITTEN = re.compile(r"(\d+)\n(/\S+)")
Json = dict[str, Any]


def found() -> str | None:
    """Return the Chromium of this machine, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A running browser with an empty profile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Json]] = {}
        self._tabs: dict[str, Tab] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for frame in self._socket:
            said: Json = frame.json()
            if "id" in said:
                asked = self._asked.pop(said["id"])
                if not asked.done():  # else nobody waits for it any more
                    asked.set_result(said)
            elif (tab := self._tabs.get(said.get("sessionId", ""))) is not None:
                tab.hear(said["method"], said["params"])

    async def ask(self, method: str, session: str | None = None, **parameters: object) -> Json:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        of = {"sessionId": session} if session else {}
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **of})
        answered = await asyncio.wait_for(answer, PATIENCE)
        if "error" in answered:
            raise LookupError(f"{method}: {answered['error']['message']}")
        result: Json = answered["result"]
        return result

    async def tab(self, address: str, *, dark: bool = False) -> "Tab":
        """Open a page in a window of its own size."""
        target = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        tab = self._tabs[attached["sessionId"]] = Tab(
            self, attached["sessionId"], target["targetId"]
        )
        for domain in ("Page", "Runtime", "Log", "DOM", "Accessibility"):
            await tab.ask(f"{domain}.enable")
        size = {"width": 1440, "height": 860, "deviceScaleFactor": 1, "mobile": False}
        await tab.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await tab.ask("Emulation.setEmulatedMedia", features=[scheme])
        await tab.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        await tab.ask("Page.bringToFront")
        await tab.ask("Page.navigate", url=address)
        return tab


class Tab:
    """One page, and the person in front of it. `problems` are errors of its script or policy."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.problems: list[str] = []

    async def ask(self, method: str, **parameters: object) -> Json:
        return await self._browser.ask(method, self._session, **parameters)

    def hear(self, event: str, said: Json) -> None:
        if event == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.problems.append(str(details.get("exception", details).get("description", details)))
        elif event == "Log.entryAdded" and said["entry"]["source"] in ("security", "javascript"):
            self.problems.append(said["entry"]["text"])

    async def reload(self) -> None:
        await self.ask("Page.reload")

    async def close(self) -> None:
        """Close it, if it is open."""
        with contextlib.suppress(LookupError):
            await self._browser.ask("Target.closeTarget", targetId=self._target)

    # -- finding

    async def all(
        self, role: str, name: str = "", *, within: "Element | None" = None
    ) -> "list[Element]":
        """Return what has a role and a name that begins so; what is named just so stands last."""
        root = within.object_id if within else (await self.evaluate("document", by_value=False))
        found = await self.ask("Accessibility.queryAXTree", objectId=root, role=role)
        elements = []
        for node in found["nodes"]:
            said = str(node.get("name", {}).get("value", ""))
            if node["ignored"] or not said.startswith(name):
                continue
            resolved = await self.ask("DOM.resolveNode", backendNodeId=node["backendDOMNodeId"])
            elements.append(Element(self, resolved["object"]["objectId"], said))
        return sorted(elements, key=lambda one: one.name == name)

    async def get(
        self, role: str, name: str = "", *, within: "Element | None" = None, number: int = -1
    ) -> "Element":
        """Wait until there is such an element; return the last."""
        found: list[Element] = []

        async def there() -> bool:
            nonlocal found
            try:
                found = await self.all(role, name, within=within)
            except LookupError:  # it was replaced just now
                return False
            return bool(found)

        await self.until(there, f"{role} “{name}”")
        return found[number]

    async def until(self, holds: Callable[[], Awaitable[object]], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await holds():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            body = await self.evaluate("document.body.innerText")
            raise TimeoutError(f"There is no {what}. The page: {body}") from None

    async def evaluate(self, expression: str, *, by_value: bool = True) -> Any:
        result = await self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=by_value, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise LookupError(str(result["exceptionDetails"]))
        return result["result"].get("value") if by_value else result["result"]["objectId"]

    # -- using

    async def click(self, role: str, name: str, *, within: "Element | None" = None) -> None:
        """Click on the last such element."""

        async def clicked() -> bool:
            try:
                await (await self.get(role, name, within=within)).click()
            except LookupError:  # it was replaced, or is not laid out yet
                return False
            return True

        await self.until(clicked, f"{role} “{name}” to click on")

    async def write(self, name: str, text: str, *, within: "Element | None" = None) -> None:
        """Replace what stands in a text field."""
        field = await self.get("textbox", name, within=within)
        await field.call("function() { this.focus(); this.select(); }")
        await self.ask("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        code, text = _KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    async def choose(self, name: str, words: str) -> None:
        """Choose an option of a list by its words."""
        box = await self.get("combobox", name)
        chosen = await box.call(
            "function(words) { const found = [...this.options].find((one) =>"
            " one.textContent.startsWith(words)); if (!found) return false;"
            " this.value = found.value;"
            " this.dispatchEvent(new Event('input', { bubbles: true }));"
            " this.dispatchEvent(new Event('change', { bubbles: true })); return true; }",
            words,
        )
        assert chosen, f"{name} has no {words}"

    async def reads(self, role: str, name: str, *words: str) -> str:
        """Wait until all these words stand in an element; return its text."""
        text = ""

        async def there() -> bool:
            nonlocal text
            try:
                text = "\n".join([await one.text() for one in await self.all(role, name)])
            except LookupError:
                return False
            return all(word in text for word in words)

        await self.until(there, f"{role} “{name}” with {words}")
        return text

    async def shoot(self, file: Path) -> None:
        """Write a picture of the page."""
        picture = await self.ask("Page.captureScreenshot", format="png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(picture["data"]))  # noqa: ASYNC240 - a test


class Element:
    """Something on the page, with its accessible name."""

    def __init__(self, tab: Tab, object_id: str, name: str) -> None:
        self._tab = tab
        self.object_id = object_id
        self.name = name

    async def call(self, function: str, *arguments: object) -> Any:
        result = await self._tab.ask(
            "Runtime.callFunctionOn",
            objectId=self.object_id,
            functionDeclaration=function,
            arguments=[{"value": one} for one in arguments],
            returnByValue=True,
        )
        return result["result"].get("value")

    async def text(self) -> str:
        # Not innerText alone: that has nothing of what is out of sight (content-visibility).
        return str(
            await self.call("function() { return this.innerText + '\\n' + this.textContent; }")
        )

    async def value(self) -> str:
        return str(await self.call("function() { return this.value; }"))

    async def click(self) -> None:
        """Click in its middle, as a mouse does."""
        await self._tab.ask("DOM.scrollIntoViewIfNeeded", objectId=self.object_id)
        await self._tab.evaluate(
            "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
        )
        (quad, *_) = (await self._tab.ask("DOM.getContentQuads", objectId=self.object_id))["quads"]
        at = {"x": sum(quad[::2]) / 4, "y": sum(quad[1::2]) / 4, "button": "left", "clickCount": 1}
        await self._tab.ask("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self._tab.ask("Input.dispatchMouseEvent", type="mouseReleased", **at)


@asynccontextmanager
async def chromium(program: str, folder: Path) -> AsyncIterator[Chromium]:
    """Run a browser until the block ends."""
    command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(  # noqa: ASYNC220 - it is waited for by its file
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            async with (
                aiohttp.ClientSession(trust_env=False) as session,
                session.ws_connect(await _address(folder), max_msg_size=0) as socket,
            ):
                browser = Chromium(socket)
                listening = asyncio.create_task(browser.listen())
                yield browser
                listening.cancel()
        finally:
            process.kill()


async def _address(folder: Path) -> str:
    """Wait until the browser has written where it listens."""
    file = folder / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while (written := _WRITTEN.fullmatch(_text_of(file))) is None:
            await asyncio.sleep(0.02)
    return f"ws://127.0.0.1:{written[1]}{written[2]}"


def _text_of(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
