"""The page for a browser on this machine: Starlette routes, guarded by a token.

Photos are named by their place in the queue, so no path of a request is ever opened. Every answer
but a 403 and the page's own scripts and style needs the token, and requests of other sites' pages
(foreign ``Host`` or ``Origin``) are refused.
"""

from __future__ import annotations

import json
import re
import secrets
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tag2mask.errors import RunFolderError, Tag2MaskError
from tag2mask.review import pictures
from tag2mask.review.service import ConflictError, ReviewService

MOST_BYTES = 2 * pictures.VIEW_SIDE**2
"""Largest body of a request."""
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
"""A name or an address, and perhaps a port."""


def review_app(service: ReviewService, token: str, hosts: frozenset[str] | None) -> ASGIApp:
    """Return the application.

    Args:
        service: what it shows and decides.
        token: without it, everything is refused.
        hosts: values of ``Host`` that are answered (``127.0.0.1:8765``); None: any ``name[:port]``.
    """
    pages = _Pages(service)
    routes = [
        Route("/", _page),
        Route("/assets/{name}", _asset),
        Route("/api/state", pages.state),
        Route("/api/alive", pages.alive),
        Route("/api/photos/{place:place}/thumbnail", pages.thumbnail),
        Route("/api/photos/{place:place}/photo", pages.photo),
        Route("/api/photos/{place:place}/mask", pages.mask),
        Route("/api/photos/{place:place}/map", pages.scores),
        Route("/api/photos/{place:place}/superpixels", pages.superpixels),
        Route("/api/photos/{place:place}/decision", pages.decide, methods=["POST"]),
        Route("/api/photos/{place:place}/undo", pages.undo, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={Tag2MaskError: _explained})
    return _Guard(app, token, hosts)


class _Guard:
    """Refuse requests without the token and those of other sites' pages.

    What is asked for is the path that routes are found by. ``request.url`` is none of it: it is
    made of the header ``Host``, which may hold anything.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str] | None) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else ""
        answer = PlainTextResponse(refusal, 403) if refusal else self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str:
        """Return why a request isn't answered; empty: it is."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        given = request.headers.get("x-token") or request.query_params.get("token", "")
        if self._hosts is not None and host not in self._hosts:
            return f"only {', '.join(sorted(self._hosts))} is served"
        if self._hosts is None and not _HOST.fullmatch(host):
            return "the header Host is not a name, or a name and a port"
        if origin is not None and origin != f"http://{host}":
            return "pages of other sites are refused"
        is_asset = request.scope["path"].startswith("/assets/")
        if not is_asset and not secrets.compare_digest(given.encode(), self._token.encode()):
            return "open the address that `tag2mask review` printed last"
        return ""


class _PlaceConvertor(Convertor[int]):
    """Places of photos in addresses: numbers of so many digits as a list may have."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("place", _PlaceConvertor())


def _explained(_request: Request, error: Exception) -> Response:
    """Answer an error that the user can fix with its message."""
    status = 400
    if isinstance(error, ConflictError):
        status = 409
    elif isinstance(error, RunFolderError):
        status = 507  # mostly a full disk: the page keeps the decision
    return JSONResponse({"error": str(error)}, status)


async def _page(_request: Request) -> Response:
    return _file("page.html")


async def _asset(request: Request) -> Response:
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    folder = resources.files("tag2mask.review") / "assets"
    kind = _TYPES.get(PurePosixPath(name).suffix)
    found = next((file for file in folder.iterdir() if file.name == name), None)
    if found is None or kind is None:
        return PlainTextResponse("no such file", 404)
    return Response(found.read_bytes(), media_type=f"{kind}; charset=utf-8")


class _Pages:
    """The endpoints; all but ``decide`` are run in threads."""

    def __init__(self, service: ReviewService) -> None:
        self.service = service

    def state(self, _request: Request) -> Response:
        return JSONResponse(self.service.state())

    def alive(self, request: Request) -> Response:
        return JSONResponse(self.service.alive(request.query_params.get("page", "")))

    def thumbnail(self, request: Request) -> Response:
        image = self._photo(request).image
        stamp = image.stat().st_mtime_ns if image.is_file() else 0
        return Response(pictures.thumbnail(image, stamp), media_type="image/jpeg")

    def photo(self, request: Request) -> Response:
        return Response(pictures.photo_view(self._photo(request).image), media_type="image/jpeg")

    def mask(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        return _pixels(self.service.mask(request.path_params["place"], name))

    def scores(self, request: Request) -> Response:
        path = self.service.folder.map_file(self._photo(request).id)
        name = request.query_params.get("class")
        tag = self.service.folder.classes.tag_id(name) if name else None
        return _pixels(None if path is None else pictures.map_view(path, tag))

    def superpixels(self, request: Request) -> Response:
        photo = self._photo(request)
        view = pictures.view_size(pictures.photo_size(photo.image, photo.size))
        return _pixels(pictures.superpixels(photo.image, view))

    async def decide(self, request: Request) -> Response:
        """Write a decision: a line of JSON, followed by the drawn mask's pixels if there is one."""
        values, drawn = await _decision(request)
        place = request.path_params["place"]
        return JSONResponse(await run_in_threadpool(self.service.decide, place, values, drawn))

    async def undo(self, request: Request) -> Response:
        """Take a decision back: a line of JSON says of which state of the photo."""
        values, _ = await _decision(request)
        place = request.path_params["place"]
        return JSONResponse(await run_in_threadpool(self.service.undo, place, values))

    def _photo(self, request: Request) -> Any:
        return self.service.photo(request.path_params["place"])


async def _decision(request: Request) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Return what a page sent: the values, and the drawn mask if there is one.

    Raises:
        HTTPException: it is too large, or no decision.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise HTTPException(413, "too large")
    head, _, rest = bytes(content).partition(b"\n")
    try:
        values = json.loads(head)
        if isinstance(values, dict):
            return values, _drawn(values, rest)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise HTTPException(400, "not a decision")


def _drawn(values: dict[str, Any], content: bytes) -> NDArray[np.uint8] | None:
    if not content:
        return None
    height, width = values["size"]
    return np.frombuffer(content, np.uint8).reshape(height, width)


def _pixels(values: NDArray[np.uint8] | NDArray[np.uint16] | None) -> Response:
    """Answer with the bytes of an array (h, w); 404 where there is none."""
    if values is None:
        return PlainTextResponse("none", 404)
    height, width = values.shape
    return Response(
        values.tobytes(),
        media_type="application/octet-stream",
        headers={"X-Width": str(width), "X-Height": str(height)},
    )
