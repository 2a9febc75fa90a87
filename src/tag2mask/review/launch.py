"""Start the page's server, print its address and open it."""

from __future__ import annotations

import errno
import html
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from tag2mask.classes import UNPRINTABLE
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.errors import PackageError, RunFolderError, Tag2MaskError
from tag2mask.review.folder import open_review
from tag2mask.text.excerpt import shortened

PORT = 8765
MOST_TOKEN = 200
"""Characters of a token."""
BROWSER_SECONDS = 30.0
"""A browser that hasn't opened the page for so long won't."""
LOCAL = "127.0.0.1"
_ANYWHERE = {"0.0.0.0": LOCAL, "::": "::1"}
"""Hosts that stand for every address of this machine, and the address that it has for itself."""
_REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0;url={address}">
<title>tag2mask review</title>
<a href="{address}">tag2mask review</a>
"""


def review(
    path: Path,
    *,
    photos: Path | None = None,
    corrections: Path | None = None,
    host: str = LOCAL,
    port: int | None = None,
    token: str | None = None,
    browser: bool = True,
    announce: Callable[[str], None] = print,
) -> str:
    """Serve the page until the process is interrupted.

    Args:
        path: a run, or a folder of predictions or of imported masks.
        photos: the photos of a folder of predictions.
        corrections: where decisions are written; None: see `open_review`.
        host: address to listen on.
        port: port to listen on; a free one if it is in use; None: `PORT`.
        token: part of the address; None: random.
        browser: open the address in a browser.
        announce: called with each line to show; the first one with an address is the page's.

    Returns:
        How many photos are decided.

    Raises:
        RunFolderError: no run, or the folder of corrections is in use or can't be written.
        Tag2MaskError: a token that no address can have.
        PackageError: the extra ``review`` isn't installed.
    """
    _check_packages()
    import uvicorn

    from tag2mask.review.server import review_app
    from tag2mask.review.service import ReviewService

    folder = open_review(path, photos, corrections)
    token = _checked(token) if token is not None else secrets.token_urlsafe(18)
    with (
        open_corrections(folder.corrections, folder.classes) as writer,
        _listening(host, port, announce) as listening,
    ):
        service = ReviewService(folder, writer, lambda: open_review(path, photos, corrections))
        number = listening.getsockname()[1]
        address = _address(_ANYWHERE.get(host, host), number, token)
        app = review_app(service, token, allowed_hosts(host, number))
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        announce(address)
        if host in _ANYWHERE:
            announce(f"from other machines: {_address(socket.gethostname(), number, token)}")
        announce(f"decisions: {folder.corrections} (end with Ctrl-C)")
        if browser:
            arguments = (address, service.opened, announce)
            threading.Thread(target=_open_in_browser, args=arguments, daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        return service.overview()


def _open_in_browser(
    address: str, opened: threading.Event, announce: Callable[[str], None]
) -> None:
    """Open an address by a file that leads to it: a machine's users see each other's command lines.

    Args:
        address: the page's, with its token.
        opened: set once the page is open.
        announce: called where it isn't: there is no browser, or one that can't read the file.
    """
    # Only this user can read the folder; where there is no space for it, nothing is opened.
    with suppress(OSError), TemporaryDirectory(prefix="tag2mask-review-") as folder:
        file = Path(folder) / "review.html"
        file.touch(0o600)
        file.write_text(_REDIRECT.format(address=html.escape(address)), encoding="utf-8")
        if webbrowser.open(file.as_uri()):
            opened.wait(BROWSER_SECONDS)
    if not opened.is_set():
        announce("no browser has opened the page: open the address above")


def _check_packages() -> None:
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise PackageError(
            f"the review page needs {error.name}",
            fix="Install the extra review: pip install '.[review]' in the project's folder.",
        ) from None
    assert starlette and uvicorn


def allowed_hosts(host: str, port: int) -> frozenset[str] | None:
    """Return the values of ``Host`` to answer; None: any, where other machines may ask."""
    if host in _ANYWHERE:
        return None
    names = {host, *((LOCAL, "localhost") if host in (LOCAL, "localhost") else ())}
    found = {_bracketed(name) for name in names}
    # A browser leaves the port of HTTP out.
    return frozenset((found if port == 80 else set()) | {f"{name}:{port}" for name in found})


def _checked(token: str) -> str:
    """Return a token that an address can have.

    Raises:
        Tag2MaskError: it is empty, long, or has characters that are no text.
    """
    if not 1 <= len(token) <= MOST_TOKEN or UNPRINTABLE.search(token):
        raise Tag2MaskError(
            f"the token {shortened(token, 20)!r} can't be in an address: it needs 1 to "
            f"{MOST_TOKEN} characters of text",
            where="--token",
            fix="Give another one, or leave it out: a random one is safest.",
        )
    return token


def _address(host: str, port: int, token: str) -> str:
    return f"http://{_bracketed(host)}:{port}/?token={quote(token, safe='')}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def _listening(
    host: str, port: int | None, announce: Callable[[str], None]
) -> Iterator[socket.socket]:
    """Yield a socket that listens on a port, or on a free one if that is in use.

    Raises:
        RunFolderError: nothing can listen on this address.
    """
    wanted = PORT if port is None else port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, wanted), family=family)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise RunFolderError(
                f"can't listen there ({error.strerror or error})",
                where=f"{host}:{wanted}",
                fix="Correct --host and --port.",
            ) from None
        announce(f"port {wanted} is in use or not allowed; a free one is taken")
        listening = socket.create_server((host, 0), family=family)
    with listening:
        yield listening
