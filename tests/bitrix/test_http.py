"""Outgoing HTTP: what a lost connection means, deadlines, and the addresses that are admitted."""

import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from b24app.bitrix import http, stopwatch
from b24app.bitrix.client import Client
from b24app.bitrix.errors import NotRun, Unknown, Unreachable
from tests.bitrix.conftest import raw_server


def test_a_refused_connection_ran_nothing(egress):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}/rest/", "t" * 10, egress, timeout=1.0)
    with pytest.raises(NotRun):
        client.call("profile")


def test_a_late_request_is_not_sent(client, httpserver, answering, monkeypatch):
    answering("profile")
    resolve = socket.getaddrinfo

    def slowly(*args, **kwargs):
        time.sleep(0.05)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    monkeypatch.setattr(http, "LATEST_START", 0.01)
    with pytest.raises(Unreachable):
        client.call("profile")
    assert httpserver.log == []


def test_a_failed_handshake_ran_nothing(egress):
    with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as host:
        client = Client(f"https://{host}/rest/", "t" * 10, egress, timeout=1.0)
        with pytest.raises(Unreachable):
            client.call("tasks.task.defer", {"taskId": 1})


def test_a_broken_connection_is_unknown(egress):
    with raw_server() as host:
        client = Client(f"http://{host}/rest/", "t" * 10, egress, timeout=1.0)
        with pytest.raises(Unknown):
            client.call("tasks.task.defer", {"taskId": 1})


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"

OPEN_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("head, drop", [(HEAD, b" " * 70_000), (HEAD, b" "), (OPEN_HEAD, b" "), (b"HTTP/1.1 ", b"2")])
def test_a_slow_drip_ends_at_the_deadline(egress, head, drop):
    with raw_server(head, drop) as host:
        client = Client(f"http://{host}/rest/", "t" * 10, egress, timeout=0.5)
        started = time.monotonic()
        with pytest.raises(Unknown, match="timeout"):
            client.call("profile")
        assert time.monotonic() - started < 2


def test_an_endless_answer_is_cut(client, answering):
    answering(body='{"result": "' + "x" * 2000 + '"}')
    with pytest.raises(Unknown):
        replace(client, longest_answer=1000).call("profile")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"),
    ],
)
def test_private_addresses_are_refused(address):
    assert not http.Egress().admits(address)


def test_an_operators_network_is_admitted():
    egress = http.Egress.parse(["10.1.0.0/16"], local=False)
    assert egress.admits("10.1.2.3")
    assert not egress.admits("10.2.0.1")
    assert egress.admits("93.184.216.34")


@pytest.mark.parametrize(
    "url",
    ["http://acme.bitrix24.com/rest/", "https://a@acme.bitrix24.com/", "ftp://acme.bitrix24.com/", "https:///rest/"],
)
def test_only_https_addresses_are_called(url):
    assert not http.Egress().admits_url(url)


def test_a_private_name_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        client = Client(f"https://localhost:{port}/rest/", "t" * 10, http.Egress(), timeout=1.0)
        with pytest.raises(NotRun):
            client.call("profile")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.bitrix24.com/rest/",
        *("https://box.example:8443/rest/", "https://box.example/portal/rest/", "https://[2001:db8::1]:8443/rest/"),
        "https://" + "a" * 286 + "/rest/",
    ],
)
def test_a_portals_address_is_admitted(url):
    assert http.Egress().admits_endpoint(url)
    assert not http.Egress().admits_endpoint(url.replace("https", "http"))
    assert http.Egress(local=True).admits_endpoint(url.replace("https", "http"))


@pytest.mark.parametrize(
    "url",
    [
        *("https://evil.example; script-src *; x/rest/", "https://*/rest/", "https://[/rest/", "https://a]b/rest/"),
        *("https://acme.example/rest/\n", "https://acme.example\n/rest/", "https://acme.example/rest/?a=/rest/"),
        *("https://acme.example/rest", "https://acme.example/", "https://u:p@acme.example/rest/", "//a/rest/", ""),
        *("https://acme.example:99999999/rest/", "https://a b/rest/", "https://a'b/rest/", "javascript:/rest/"),
        *("https://\u2170\u2100.com/rest/", "https://" + "a" * 290 + "/rest/", "https://acme.example//rest/"),
    ],
)
def test_an_odd_address_is_no_portals(url):
    assert not http.Egress(local=True).admits_endpoint(url)


# -- Too late to start -------------------------------------------------------------------------------------------


@pytest.fixture
def slept(monkeypatch):
    """Let the stopwatch jump, as it does for a process that was stopped or a machine that slept."""
    jumps = []
    monkeypatch.setattr(stopwatch, "now", lambda read=stopwatch.now: read() + sum(jumps))
    return jumps.append


def sleeping_in(monkeypatch, owner, name, slept):
    """Sleep for a minute at the beginning of a method, once."""
    method = getattr(owner, name)

    def sleep_first(*args, **kwargs):
        monkeypatch.setattr(owner, name, method)
        slept(60)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, sleep_first)


@pytest.fixture
def portal(egress):
    """A client of a portal that keeps its connections, and the list of the requests that arrived there."""
    arrived = []

    class Keeping(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            if len(self.rfile.read(length)) < length:
                return  # the rest never came
            arrived.append(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "14")
            self.end_headers()
            self.wfile.write(b'{"result": {}}')

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    http._local.__dict__.pop("sessions", None)
    yield Client(f"http://127.0.0.1:{server.server_port}/rest/", "t" * 10, egress, timeout=10.0), arrived
    for session in http._local.__dict__.pop("sessions", {}).values():
        session.close()
    server.shutdown()
    server.server_close()
    thread.join(5)


PLACES = [
    (requests.Session, "request"),
    (HTTPAdapter, "send"),
    (HTTPConnectionPool, "urlopen"),
    (HTTPConnection, "request"),
    (HTTPConnection, "putrequest"),
]


@pytest.mark.parametrize("owner, name", PLACES, ids=[f"{owner.__name__}.{name}" for owner, name in PLACES])
@pytest.mark.parametrize("is_kept", [True, False])
def test_nothing_leaves_after_a_sleep(portal, monkeypatch, slept, is_kept, owner, name):
    client, arrived = portal
    if is_kept:
        client.call("profile")
        client.call("profile")
        assert len(set(arrived)) == 1
    before = len(arrived)
    sleeping_in(monkeypatch, owner, name, slept)
    with pytest.raises(NotRun):
        client.call("profile")
    assert len(arrived) == before
    client.call("profile")
    assert len(arrived) == before + 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_nothing_leaves_if_the_lease_was_renewed_late(portal, slept, is_kept):
    client, arrived = portal
    if is_kept:
        client.call("profile")
    before = len(arrived)
    with pytest.raises(NotRun):
        replace(client, before=lambda: slept(60)).call("profile")
    assert len(arrived) == before


def test_the_time_to_start_counts_from_what_was_written_down(portal):
    client, arrived = portal
    with pytest.raises(NotRun):
        replace(client, begun_at=stopwatch.now() - 16).call("profile")
    replace(client, begun_at=stopwatch.now() - 14).call("profile")
    assert len(arrived) == 1


def test_a_sleep_between_head_and_body_loses_the_answer(portal, monkeypatch, slept):
    client, arrived = portal
    send, sent = HTTPConnection.send, []

    def sleep_after_the_head(connection, data):
        send(connection, data)
        sent.append(data)
        slept(60)

    monkeypatch.setattr(HTTPConnection, "send", sleep_after_the_head)
    with pytest.raises(Unknown):
        client.call("profile")
    assert len(sent) == 1
    assert arrived == []


def test_the_stopwatch_counts_a_machines_sleep():
    """A suspended machine stops CLOCK_MONOTONIC, which Linux documents; nothing here can suspend it."""
    assert getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None)) == stopwatch._CLOCK
    first = stopwatch.now()
    assert 0 <= stopwatch.now() - first < 5


def test_the_stopwatch_runs_without_such_a_clock(monkeypatch):
    monkeypatch.setattr(stopwatch, "_CLOCK", None)
    assert abs(stopwatch.now() - time.monotonic()) < 5
