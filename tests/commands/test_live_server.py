"""The server of a live page: one page, for this machine's browsers, and nothing to change."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from batchlab.commands.live_report import LivePage
from batchlab.commands.live_server import LiveServer
from batchlab.errors import StoreError


class MadeUpReport:
    """Gives pages that can be told apart; the names of its threads are kept."""

    def __init__(self) -> None:
        self.n = 0
        self.threads: set[str] = set()
        self.fails = False
        self.is_finished = False
        self.is_closed = False

    def page(self) -> LivePage:
        self.threads.add(threading.current_thread().name)
        if self.fails:
            raise StoreError("the store is gone")
        self.n += 1
        return LivePage(
            html=f"<p>page {self.n}</p>",
            version=f'"{self.n}"',
            status=f"{self.n} of 9 – so far",
            is_finished=self.is_finished,
        )

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def report() -> MadeUpReport:
    return MadeUpReport()


@pytest.fixture
def server(report: MadeUpReport) -> Iterator[LiveServer]:
    with LiveServer(report) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    assert report.is_closed


def asked(
    server: LiveServer, method: str = "GET", path: str = "/", host: str | None = "localhost"
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_the_page_is_there_and_is_asked_for_in_one_thread(
    server: LiveServer, report: MadeUpReport
) -> None:
    pages = [asked(server)[1] for _ in range(3)]

    assert pages == ["<p>page 1</p>", "<p>page 2</p>", "<p>page 3</p>"]
    assert len(report.threads) == 1


def test_it_listens_on_the_loopback_address_alone(server: LiveServer) -> None:
    assert server.socket.family == socket.AF_INET
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"
    assert server.server_port > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8000", "127.0.0.1:80"])
def test_its_own_names_are_answered(server: LiveServer, host: str) -> None:
    assert asked(server, host=host)[0].status == 200


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2",
     "evil.example@localhost.example", "[::1]", "0.0.0.0"],
)  # fmt: skip
def test_a_name_that_somebody_else_pointed_here_is_refused(
    server: LiveServer, report: MadeUpReport, host: str | None
) -> None:
    for method in ("GET", "HEAD"):
        answer, body = asked(server, method, host=host)
        assert answer.status == 403
        assert "page" not in body
    assert report.n == 0


@pytest.mark.parametrize(
    "path", ["/x", "/index.html", "/?x=1", "/../etc/passwd", "/%2e%2e/lab.db", "/lab.db"]
)
def test_there_is_nothing_but_the_page(server: LiveServer, path: str) -> None:
    assert asked(server, path=path)[0].status == 404
    assert asked(server, "HEAD", path=path)[0].status == 404


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]
)
def test_nothing_can_be_changed(server: LiveServer, report: MadeUpReport, method: str) -> None:
    answer, _ = asked(server, method)

    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert report.n == 0


def test_the_pages_script_is_told_version_and_status_without_the_page(server: LiveServer) -> None:
    asked(server)

    answer, body = asked(server, "HEAD")

    assert (answer.status, body, answer.getheader("ETag")) == (200, "", '"1"')
    assert unquote(answer.getheader("X-Batchlab-Status") or "") == "1 of 9 – so far"


def test_a_page_that_was_loaded_is_not_followed_by_an_older_one(server: LiveServer) -> None:
    asked(server)
    asked(server, "HEAD")  # begins to make the second
    loaded, _ = asked(server)

    assert (loaded.getheader("ETag"), asked(server, "HEAD")[0].getheader("ETag")) == ('"3"', '"3"')


def test_the_pages_script_is_told_to_ask_more_seldom_when_the_study_is_finished(
    server: LiveServer, report: MadeUpReport
) -> None:
    asked(server)
    assert asked(server, "HEAD")[0].getheader("X-Batchlab-Look-Again-S") == "3"

    report.is_finished = True
    asked(server)
    assert asked(server, "HEAD")[0].getheader("X-Batchlab-Look-Again-S") == "10"


def test_asked_again_the_script_hears_of_the_next_page(
    server: LiveServer, report: MadeUpReport
) -> None:
    asked(server)
    asked(server, "HEAD")
    server._thread.submit(lambda: None).result()  # what the first one began is done

    assert asked(server, "HEAD")[0].getheader("ETag") == '"2"'


def test_no_copy_is_kept_anywhere(server: LiveServer) -> None:
    answer, _ = asked(server)

    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("X-Frame-Options") == "DENY"
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"


def test_a_store_that_cannot_be_read_is_told(server: LiveServer, report: MadeUpReport) -> None:
    report.fails = True

    answer, body = asked(server)

    assert (answer.status, body) == (500, "the store is gone\n")


def test_after_one_failed_read_the_next_page_is_there(
    server: LiveServer, report: MadeUpReport
) -> None:
    asked(server)
    report.fails = True
    asked(server, "HEAD")
    server._thread.submit(lambda: None).result()
    report.fails = False

    statuses = []
    for _ in range(3):
        statuses.append(asked(server, "HEAD")[0].status)
        server._thread.submit(lambda: None).result()

    assert statuses == [500, 200, 200]
    assert asked(server, "HEAD")[0].getheader("ETag") > '"1"'


def test_what_is_no_name_of_a_host_is_refused(server: LiveServer) -> None:
    assert asked(server, host="[")[0].status == 403


def test_a_connection_that_asks_nothing_keeps_nobody_waiting(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)):
        assert asked(server)[0].status == 200
