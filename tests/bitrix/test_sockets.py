"""Connecting has one deadline: slow names, dead addresses and slow handshakes end with it."""

import socket
import threading
import time

import pytest

from b24app.bitrix import sockets
from b24app.bitrix.client import Client
from b24app.bitrix.errors import Unreachable
from tests.bitrix.conftest import raw_server

TIMEOUT = 0.6  # seconds
DEAD = "192.0.2.1"


@pytest.fixture
def client(egress):
    return Client("http://portal.example:1/rest/", "t" * 10, egress, timeout=TIMEOUT)


def found(*addresses, port=1):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def dead_connect(monkeypatch):
    """Connecting takes as long as it may, and fails. Returns the addresses that were tried."""
    tried = []

    class Dead(socket.socket):
        def connect(self, address):
            tried.append(address)
            time.sleep(min(self.gettimeout(), 5))
            raise TimeoutError

    monkeypatch.setattr(socket, "socket", Dead)
    return tried


def seconds_until_unreachable(client):
    started = time.monotonic()
    with pytest.raises(Unreachable):
        client.call("profile")
    return time.monotonic() - started


def test_many_dead_addresses_end_in_time(client, monkeypatch, dead_connect):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found(*[DEAD] * 99))
    assert seconds_until_unreachable(client) < TIMEOUT + 0.3
    assert len(dead_connect) == sockets.MOST_ADDRESSES


def test_a_slow_name_ends_in_time(client, monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: end.wait(10) and found(DEAD))
    assert seconds_until_unreachable(client) < TIMEOUT + 0.3
    end.set()


def test_a_slow_name_has_one_helper(client, monkeypatch):
    end, asked = threading.Event(), []

    def slowly(host, *args, **kwargs):
        asked.append(host)
        end.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    threads = [threading.Thread(target=lambda: seconds_until_unreachable(client)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert asked == ["portal.example"]
    end.set()


def test_helpers_are_limited(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: end.wait(10) and [])
    monkeypatch.setattr(sockets, "_running", {})
    monkeypatch.setattr(sockets, "MOST_NAMES", 3)
    for number in range(3):
        with pytest.raises(OSError, match="in time"):
            sockets.resolve(f"portal{number}.example", 443, 0.01)
    with pytest.raises(OSError, match="too many"):
        sockets.resolve("portal3.example", 443, 0.01)
    end.set()


def test_a_dead_first_address_is_survived(monkeypatch, egress, httpserver, answering):
    answering(body={"result": 1})
    real = sockets._connected

    def one_dead(place, seconds):
        if place[4][0] == DEAD:
            time.sleep(seconds)
            raise TimeoutError
        return real(place, seconds)

    monkeypatch.setattr(sockets, "_connected", one_dead)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found(DEAD, "127.0.0.1", port=httpserver.port))
    client = Client("http://portal.example:1/rest/", "t" * 10, egress, timeout=2.0)
    assert client.call("profile").result == 1


def test_an_odd_name_is_unreachable(egress):
    client = Client("http://" + "a" * 70 + "..example/rest/", "t" * 10, egress, timeout=TIMEOUT)
    assert seconds_until_unreachable(client) < TIMEOUT + 0.3


def test_a_dripping_handshake_ends_in_time(egress):
    with raw_server(b"\x16\x03\x03\x40\x00", drop=b"\x02") as host:  # a TLS record of 16 KB that never comes
        client = Client(f"https://{host}/rest/", "t" * 10, egress, timeout=TIMEOUT)
        assert seconds_until_unreachable(client) < TIMEOUT + 0.3
