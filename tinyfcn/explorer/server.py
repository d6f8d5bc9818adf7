"""The page and its answers, for browsers on this machine alone.

A page from elsewhere that is open in the same browser could ask this address, too: so requests must
name it as their host (which a foreign name that was made to point here does not), and as their
origin, if they have one.
"""

from __future__ import annotations

import json
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tinyfcn import explorer
from tinyfcn.explorer.web import FILES

WEB = Path(__file__).with_name("web")
HOSTS = "127.0.0.1", "localhost"
PORT = 8642  # where it is free: so links last, and lessons can have some
MOST_BYTES = 1 << 16  # of a question
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves on 127.0.0.1 as soon as it is made; port 0 takes one that is free.

    Raises:
        OSError: if the port is taken, or is not for everyone.

    Example:
        >>> with Server(0) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # where two could have one port

    def __init__(self, port: int) -> None:
        super().__init__((HOSTS[0], port), Handler)
        self.url = f"http://{HOSTS[0]}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    protocol_version = "HTTP/1.1"
    server_version = "tinyfcn"
    sys_version = ""
    timeout = 30  # seconds, for one that says nothing
    disable_nagle_algorithm = True  # or an answer waits 40 ms for the receipt of its headers
    server: Server

    def do_GET(self) -> None:
        """A file of the page."""
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        if not self._trusted():
            return
        if name not in FILES:
            self._send(404, f"there is no {name:.80}", close=True)
            return
        path = WEB / name
        self._send(200, path.read_bytes(), TYPES[path.suffix])

    def do_POST(self) -> None:
        """The answer of a room, to the settings of an address as JSON."""
        length, room = self.headers.get("Content-Length", ""), self.path.removeprefix("/")
        if not self._trusted():
            return
        if room not in explorer.ROOMS:
            self._send(404, f"there is no room {room:.80}", close=True)
        elif not (length.isascii() and length.isdigit()):
            self._send(411, "expected the number of bytes in Content-Length", close=True)
        elif len(length) > 9 or int(length) > MOST_BYTES:
            self._send(413, f"expected at most {MOST_BYTES} bytes, got {length:.20}", close=True)
        else:
            self._answer(room, self.rfile.read(int(length)))

    def _answer(self, room: str, question: bytes) -> None:
        try:
            answer = explorer.room(room).answer(json.loads(question))
            data = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
        except RecursionError:
            self._send(400, "expected settings by name, got lists in lists")
        except (ValueError, TypeError) as error:
            self._send(400, str(error))
        except Exception:  # a defect: the page says so, the terminal shows where
            traceback.print_exc()
            self._send(500, "the explorer failed; the terminal shows where")
        else:
            self._send(200, data, "application/json")

    def _trusted(self) -> bool:
        ours = [f"{host}:{self.server.server_port}" for host in HOSTS]
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        if len(hosts) == 1 and hosts[0] in ours and {*origins} <= {f"http://{h}" for h in ours}:
            return True
        self._send(403, f"expected a request of {self.server.url}", close=True)
        return False

    def _send(
        self, status: int, body: bytes | str, kind: str = "text/plain", close: bool = False
    ) -> None:
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if close:  # whatever else was sent is not read
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself rejects: other methods, and what is no HTTP."""
        self._send(int(code), message or "this cannot be answered", close=True)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal stays quiet."""
