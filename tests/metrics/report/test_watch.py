# SPDX-License-Identifier: Apache-2.0
"""Serving a page: to this machine, nothing but the page, and a state that follows the run."""

import http.client
import socket
import struct
import threading

import pytest

from ntl_jax.metrics.report import watch
from ntl_jax.metrics.report.watch import HOST, ReportServer
from ntl_jax.run_folder import claimed
from tests.logged import metric_lines, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", 2)


@pytest.fixture
def server(folder):
    with ReportServer([folder], 0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=30)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


def test_the_page_is_live_and_its_state_changes_with_the_run(server, folder):
    status, page = ask(server, "/")
    _, before = ask(server, "/state")
    assert status == 200 and f'"state": "{before}"' in page and ask(server, "/state")[1] == before
    server._next = 0.0
    (folder / "metrics.jsonl").write_text(metric_lines(range(1, 4)))
    assert ask(server, "/state")[1] != before
    assert "3 of 4 iterations" in ask(server, "/")[1]


def test_a_killed_run_changes_the_state(server, folder):
    before = server.state()
    with claimed(folder, resume=True):
        assert server.state() != before
    assert server.state() == before


def test_a_page_is_not_made_again_at_once(server, folder, monkeypatch):
    monkeypatch.setattr(watch, "PAUSE", 1e6)
    page, state = ask(server, "/")[1], ask(server, "/state")[1]
    (folder / "metrics.jsonl").write_text(metric_lines(range(1, 4)))
    assert (ask(server, "/")[1], ask(server, "/state")[1]) == (page, state)


def test_a_browser_that_goes_away_is_no_error(server, capsys):
    with socket.create_connection((HOST, server.server_address[1])) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
    assert ask(server, "/state")[0] == 200
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/config.json", "/../config.json", "/metrics.jsonl", "/state/", "/%2e%2e/"])
def test_nothing_but_the_page_is_served(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 404), ("localhost:1", 200), ("127.0.0.1", 200), ("", 404), ("[", 404)]
)
def test_a_page_of_another_site_gets_no_answer(server, host, status):
    assert ask(server, "/", host)[0] == status


def test_only_this_machine_is_served(server):
    assert server.server_address[0] == "127.0.0.1"


def test_a_run_that_is_deleted_meanwhile_is_said_so(server, folder):
    for path in folder.iterdir():
        path.unlink()
    status, content = ask(server, "/")
    assert status == 503 and "holds no run" in content
