"""A person's browser: it keeps cookies, and follows what a person would press."""

import html
import re
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import aiohttp

INSTALL = "/slack/install"
_LINK = re.compile(r'<a href="([^"]+)">([^<]+)</a>')
_TITLE = re.compile(r"<h1>([^<]*)</h1>")


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser was answered."""

    address: str
    status: int
    body: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)

    @property
    def title(self) -> str:
        found = _TITLE.search(self.body)
        return html.unescape(found[1]) if found else ""

    @property
    def location(self) -> str:
        """The address that it leads on to."""
        return urljoin(self.address, self.headers["Location"])

    def link(self, words: str) -> str:
        """Return where a link leads, by words in it."""
        for address, text in _LINK.findall(self.body):
            if words in html.unescape(text):
                return urljoin(self.address, html.unescape(address))
        raise KeyError(words)


class Browser:
    """Keeps the cookies of each host, and sends a Secure one to this machine as well."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}

    async def get(self, address: str) -> Page:
        """Ask for a page. It does not go on to another one."""
        kept = self.cookies.setdefault(urlsplit(address).hostname or "", {})
        cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
        headers = {"Cookie": cookie} if cookie else {}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.get(address, headers=headers, allow_redirects=False) as response,
        ):
            for line in response.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    kept[name] = morsel.value
                    if morsel["expires"]:
                        del kept[name]
            body = await response.text()
            return Page(address, response.status, body, dict(response.headers))

    async def begin(self, bot: str) -> Page:
        """Begin an installation; return Slack's page of consent, or why there is none."""
        first = await self.get(f"{bot}{INSTALL}")
        return await self.get(first.location) if "Location" in first.headers else first

    async def allow(self, consent: Page, name: str) -> Page:
        """Allow the installation in a workspace, or an organisation; return what leads back."""
        return await self.get(consent.link(f"Allow in {name}"))

    async def install(self, bot: str, name: str) -> Page:
        """Install the bot, from the first page to the last."""
        consent = await self.begin(bot)
        if consent.title != "Portal Activity asks for your permission":
            return consent
        back = await self.allow(consent, name)
        return await self.get(back.location)
