"""A local web server of photos that answers as it is told: errors, delays, cut-off files."""

from __future__ import annotations

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import quote, unquote, urlsplit


@dataclass
class PhotoServer:
    """What is served, and how; keys are paths without percent-encoding, ``/a/1.png``.

    Attributes:
        files: bytes of each file.
        answers: statuses of the next requests of a path; the last one is kept.
        seconds: time before the answer to a path.
        login: ``user:password`` that every request must give; empty: none.
        cut_off: paths of which half is sent, less than was announced.
        requests: number of requests of each path, query included.
        most_at_once: the most requests in progress at the same time.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    login: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    url: str = ""
    _now: int = 0
    _lock: Lock = field(default_factory=Lock)

    def entered(self, path: str) -> None:
        with self._lock:
            self.requests[path] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)

    def left(self) -> None:
        with self._lock:
            self._now -= 1

    def page(self, folder: str) -> bytes | None:
        """Links to what is in a folder, as Apache and nginx write them; None: it isn't there."""
        below = [path.removeprefix(folder) for path in self.files if path.startswith(folder)]
        names = {name.split("/")[0] + "/" * ("/" in name) for name in below}
        links = "".join(f'<a href="{quote(name)}">{name}</a>\n' for name in sorted(names))
        page = f'<html><a href="?C=N;O=D">Name</a><a href="../">up</a>\n{links}</html>'
        return page.encode() if names else None

    def answer(self, path: str) -> int:
        told = self.answers.get(path, [200])
        return told.pop(0) if len(told) > 1 else told[0]


@contextmanager
def serving() -> Iterator[PhotoServer]:
    """A server on a free port of this computer, in threads."""
    served = PhotoServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            served.entered(self.path)
            try:
                self.reply(path)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up
            finally:
                served.left()

        def reply(self, path: str) -> None:
            time.sleep(served.seconds.get(path, 0))
            status = served.answer(path)
            expected = f"Basic {b64encode(served.login.encode()).decode()}"
            if served.login and self.headers["Authorization"] != expected:
                status = 401
            body = served.files.get(path)
            if body is None and path.endswith("/"):
                body = served.page(path)
            if status != 200 or body is None:
                self.send_response(404 if status == 200 else status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            kind = "text/html" if body.startswith(b"<html") else "image/png"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if path in served.cut_off else body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
