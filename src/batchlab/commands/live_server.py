"""LiveServer: serves the page of a study that runs to browsers of this machine, and nobody else."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

from batchlab.commands.live_report import LivePage, LiveReport
from batchlab.errors import BatchlabError

_LOOPBACK = "127.0.0.1"
_NAMES = (_LOOPBACK, "localhost")
# A browser opens connections ahead that it may never use.
_PATIENCE_S = 10.0


class LiveServer(ThreadingHTTPServer):
    """Serves one page, at one address of the loopback interface.

    Attributes:
        daemon_threads: connections that browsers keep open end with the server.
    """

    daemon_threads = True

    def __init__(self, report: LiveReport) -> None:
        """Take a free port; `serve_forever` answers.

        Args:
            report: asked for the page, always in one thread of its own.
        """
        super().__init__((_LOOPBACK, 0), _Handler)
        self._report = report
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="live-page")
        self._turn = threading.Lock()  # two tabs may ask at once
        self._under_way: Future[LivePage] | None = None
        self._last: LivePage | None = None

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{_LOOPBACK}:{self.server_port}/"

    def page(self) -> LivePage:
        """The page by now.

        Raises:
            BatchlabError: there is none; the message says why.
        """
        with self._turn:  # what was under way before is older, and must not come after it
            made = self._under_way = self._thread.submit(self._report.page)
        self._last = made.result()
        return self._last

    def latest(self) -> LivePage:
        """The page as it was made last, at once; meanwhile the next one is made.

        Raises:
            BatchlabError: there is none; the message says why.
        """
        last = self._last
        if last is None:
            return self.page()
        with self._turn:
            done = self._under_way
            if done is None or done.done():
                self._under_way = self._thread.submit(self._report.page)
            if done is not None and done.done():
                last = self._last = done.result()
        return last

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that went away: a tab is closed or loaded anew."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Take the port, without a look at the name of this machine: that may ask a network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def server_close(self) -> None:
        """Let go of the port and of the store."""
        super().server_close()
        self._thread.submit(self._report.close).result()
        self._thread.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: LiveServer
    timeout = _PATIENCE_S
    server_version = "batchlab"
    sys_version = ""

    def do_GET(self) -> None:
        """The page, if it is asked for under its own address."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """What the page's own script asks: whether it has changed, and how far the study is."""
        self._answer(with_body=False)

    def _refuse_method(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only GET", more={"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _answer(self, *, with_body: bool) -> None:
        # A page of another site may point a name of its own at this machine to read from it.
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:  # no name of a host
            host = None
        if host not in _NAMES:
            self._say(HTTPStatus.FORBIDDEN, f"open {self.server.address}", with_body=with_body)
        elif self.path != "/":
            self._say(HTTPStatus.NOT_FOUND, "there is nothing but /", with_body=with_body)
        else:
            self._send_page(with_body=with_body)

    def _send_page(self, *, with_body: bool) -> None:
        try:
            page = self.server.page() if with_body else self.server.latest()
        except BatchlabError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error), with_body=with_body)
            return
        self._send(
            HTTPStatus.OK,
            page.html,
            kind="text/html",
            with_body=with_body,
            more={
                "ETag": page.version,
                "X-Batchlab-Status": quote(page.status),
                "X-Batchlab-Look-Again-S": f"{page.look_again_s:g}",
            },
        )

    def _say(
        self,
        status: HTTPStatus,
        text: str,
        *,
        with_body: bool = True,
        more: dict[str, str] | None = None,
    ) -> None:
        self._send(status, f"{text}\n", kind="text/plain", with_body=with_body, more=more or {})

    def _send(
        self, status: HTTPStatus, text: str, *, kind: str, with_body: bool, more: dict[str, str]
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            **more,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


def serve_live(report: LiveReport, *, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        report: what is shown.
        say: told the address, once it answers.
    """
    with LiveServer(report) as server:
        say(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
