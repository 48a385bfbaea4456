"""Who may ask: the right host, the same site, the token, and no more than so many bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from secrets import compare_digest
from typing import Any, Final
from urllib.parse import parse_qs

from fewshot_seg.web.refusals import TOO_LARGE, RefusalError

_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_MOST_HELD: Final = 16 * 2**20  # bytes of a body that is no form
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/\[\]]+)(?::\d{1,5})?")
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
FORBIDDEN, NO_TOKEN = 403, 401


class Guard:
    """ASGI: lets through what may pass.

    Args:
        app: what it stands before.
        hosts: names by which the server may be called, without a port; empty: any, which takes a token.
        token: what every request must show, if anything.
        most_bytes: of one request's body.
    """

    def __init__(self, app: Any, *, hosts: Iterable[str], token: str | None, most_bytes: int) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._token = token
        self._most = most_bytes
        self._cookie = "fewshot-seg-token"

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await (
                self._app(scope, receive, send) if scope["type"] == "lifespan" else send({"type": "websocket.close"})
            )
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if self._token is not None and (moved := self._moved(scope)):
                await _answer(send, 303, b"", {"location": "/", "set-cookie": moved})
                return
            self._check(scope["method"], headers)
        except RefusalError as error:
            await _answer(send, error.status, json.dumps({"error": str(error)}).encode())
            return
        await self._app(scope, self._limited(receive, headers), _with_headers(send))

    def _check(self, method: str, headers: Mapping[str, str]) -> None:
        host = _HOST.fullmatch(headers.get("host", "").lower())
        if self._hosts and (host is None or host[1].strip("[]") not in self._hosts):
            raise RefusalError(FORBIDDEN, "this host name isn't the server's; open the address that it printed")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_visit(method, headers):
            raise RefusalError(FORBIDDEN, "a page of another site asked for this; open the server's own page")
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise RefusalError(FORBIDDEN, "a page of another site asked for this; open the server's own page")
        if self._token is not None and not self._knows(headers):
            raise RefusalError(
                NO_TOKEN, "a token is needed: open the printed address, or send Authorization: Bearer TOKEN"
            )
        length, most = headers.get("content-length", "0"), self._most_of(headers)
        if not length.isdecimal() or int(length) > most:
            raise RefusalError(TOO_LARGE, _too_large(most))

    def _knows(self, headers: Mapping[str, str]) -> bool:
        shown = [headers.get("authorization", "").removeprefix("Bearer ")]
        with suppress(CookieError):
            shown += [
                morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items() if name == self._cookie
            ]
        return any(compare_digest(one.encode(), str(self._token).encode()) for one in shown)

    def _moved(self, scope: Mapping[str, Any]) -> str | None:
        """The cookie for a visit that has the token in its address."""
        if scope["method"] != "GET" or scope["path"] != "/":
            return None
        (given,) = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[:1]
        if not given:
            return None
        if not compare_digest(given.encode(), str(self._token).encode()):
            raise RefusalError(NO_TOKEN, "the token in the address is another one than the server's")
        return f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"

    def _limited(self, receive: Any, headers: Mapping[str, str]) -> Any:
        """`receive`, which ends with 413 where more comes than was said."""
        seen, most = 0, self._most_of(headers)

        async def limited() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise RefusalError(TOO_LARGE, _too_large(most))
            return message

        return limited

    def _most_of(self, headers: Mapping[str, str]) -> int:
        """Files go to the disk as they come; all else is held in memory."""
        is_form = headers.get("content-type", "").startswith("multipart/form-data")
        return self._most if is_form else min(self._most, _MOST_HELD)


def _is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """A person who followed a link to the page itself."""
    return (
        method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )


def _too_large(most: int) -> str:
    return f"a request may hold {most / 2**20:g} MiB: send fewer or smaller files, or start with a larger --max-upload"


def _with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _answer(send: Any, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    sent = {"content-type": "application/json", "content-length": str(len(body)), **_HEADERS, **(headers or {})}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
