"""Who is let in: tried with a plain application behind the guard that says what reached it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from fewshot_seg.web.guard import Guard
from fewshot_seg.web.refusals import RefusalError


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return JSONResponse({"error": str(error)}, error.status)


def guarded(token: str | None = None, **options: Any) -> TestClient:
    routes = [Route("/{path:path}", echo, methods=["GET", "POST"])]
    app = Starlette(routes=routes, exception_handlers={RefusalError: refused})
    hosts = () if token else ("127.0.0.1", "localhost", "::1")
    guard = Guard(app, hosts=hosts, token=token, most_bytes=1000)
    return TestClient(guard, base_url="http://localhost:8000", **options)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000", "LOCALHOST"])
def test_the_servers_own_names_are_let_in(host: str) -> None:
    assert guarded().get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", "", "127.0.0.2", "a@localhost@b", "["])
def test_another_host_name_is_refused(host: str) -> None:
    answer = guarded().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:9000", "null", "localhost:8000"])
def test_a_page_of_another_site_cannot_post(origin: str) -> None:
    assert guarded().post("/api/project/run", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_cannot_ask_or_embed(site: str) -> None:
    client = guarded()
    assert client.get("/api/project", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403
    visit = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=visit).status_code == 200, "a link to the page is no attack"
    assert client.post("/", headers=visit).status_code == 403


def test_its_own_page_and_programs_may_post() -> None:
    client = guarded()
    own = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/x", headers=own).status_code == 200
    assert client.post("/api/x").status_code == 200


def test_a_token_is_asked_for_and_an_address_with_it_gives_a_cookie() -> None:
    client = guarded(token="abcdefgh12")
    assert client.get("/api/project").status_code == 401
    assert client.get("/api/project", headers={"authorization": "Bearer abcdefgh13"}).status_code == 401
    assert client.get("/api/project", headers={"authorization": "Bearer abcdefgh12"}).status_code == 200
    assert client.get("/?token=wrong", follow_redirects=False).status_code == 401
    moved = client.get("/?token=abcdefgh12", follow_redirects=False)
    assert moved.status_code == 303
    assert moved.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=Strict"} <= set(moved.headers["set-cookie"].split("; "))
    assert client.get("/api/project").status_code == 200, "the cookie is kept by the client"
    assert client.get("/api/project", headers={"host": "farm.example"}).status_code == 200, "any name, with the token"


def test_too_large_a_request_is_refused_announced_or_not() -> None:
    client = guarded()

    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            yield bytes(200)

    assert client.post("/", content=bytes(1000)).text == "1000"
    assert client.post("/", content=bytes(1001)).status_code == 413
    assert client.post("/", content=chunks()).status_code == 413
    assert client.post("/", headers={"content-length": "-5"}).status_code == 413


def test_browsers_are_told_what_the_page_may_do() -> None:
    for answer in (guarded().get("/"), guarded().get("/", headers={"host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
