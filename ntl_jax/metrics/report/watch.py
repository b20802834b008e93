# SPDX-License-Identifier: Apache-2.0
"""Serves the page of runs that go on, to this machine alone; the page loads itself again when they write more."""

import http.server
import os
import pathlib
import sys
import threading
import time
import urllib.parse
from collections.abc import Sequence

from ntl_jax.metrics.report.page import render
from ntl_jax.run_folder import is_claimed

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Of this machine, by which a browser may ask: a page of another site that resolves its own name to this machine gets
no answer."""
FILES = (
    *("config.json", "environment.json", "metrics.jsonl", "samples.jsonl.gz", "reward_errors.jsonl"),
    *("divergence.jsonl", "divergence.log", "pool.log", "error.txt"),
)
"""Of a run folder, whose changes a page shows."""
PAUSE = 5.0
"""A page that took t seconds is made again `PAUSE * t` seconds later at the earliest: it runs beside the training."""


class ReportServer(http.server.ThreadingHTTPServer):
    """Answers ``/`` with the page and ``/state`` with a text that changes with it; nothing else.

    Args:
        folders: of the runs.
        port: 0: any that is free.

    Raises:
        OSError: if the port is in use.
        OverflowError: if there is no such port.

    Example:
        >>> import tempfile
        >>> with ReportServer([pathlib.Path(tempfile.mkdtemp())], 0) as server:
        ...     server.url[:17]
        'http://127.0.0.1:'
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[pathlib.Path], port: int):
        super().__init__((HOST, port), _Handler)
        self.folders = folders
        self._lock = threading.Lock()
        self._state, self._page = "", b""
        self._next = 0.0
        """When the page may be made again."""

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def state(self) -> str:
        """A text that changes when a run has written more, or has ended."""
        if time.monotonic() < self._next:
            return self._state
        claims = " ".join(str(is_claimed(folder)) for folder in self.folders)
        return " ".join([claims, *(_state(folder / name) for folder in self.folders for name in FILES)])

    def page(self) -> bytes:
        """The page of the present state.

        Raises:
            ValueError: if a folder holds no run any more.
        """
        with self._lock:
            if (state := self.state()) != self._state:
                began = time.monotonic()
                self._page = render(self.folders, state=state).encode("utf-8", "replace")
                self._state, ended = state, time.monotonic()
                self._next = ended + PAUSE * (ended - began)
            return self._page

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away while it is answered is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answers the two paths that there are."""
        server = self.server
        assert isinstance(server, ReportServer)
        try:
            host = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname
            path = urllib.parse.urlsplit(self.path).path
        except ValueError:
            host = path = None
        if host not in NAMES or path not in ("/", "/state"):
            self.send_error(404)
            return
        try:
            content = server.page() if path == "/" else server.state().encode()
        except (ValueError, OSError) as error:
            self.send_error(503, explain=str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", f"text/{'html' if path == '/' else 'plain'}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: object) -> None:
        """Requests are not worth a line in the terminal."""


def _state(path: pathlib.Path) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return f"{status.st_size}.{status.st_mtime_ns}"
