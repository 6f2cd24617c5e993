"""Connecting: resolve a name and try its addresses, all before one deadline.

`getaddrinfo` has no time limit, so it runs in a helper thread. One helper per name: a slow name occupies no more.
"""

import socket
import threading
import time
from collections.abc import Callable

MOST_ADDRESSES = 3  # of a name; a portal could name thousands
MOST_NAMES = 64  # that this process resolves at once
CONNECT_TIMEOUT = 5.0  # seconds, for each address

Place = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]  # what getaddrinfo returns


class _Resolution:
    """One name being resolved. Several threads may wait for it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.is_done = threading.Event()
        self.found: list[Place] = []
        self.failure: OSError | None = None

    def run(self) -> None:
        try:
            self.found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)  # type: ignore[assignment]
        except OSError as error:
            self.failure = error
        except UnicodeError as error:  # a label is empty or too long
            self.failure = OSError(str(error))
        finally:
            with _lock:
                _running.pop((self.host, self.port), None)
            self.is_done.set()


_lock = threading.Lock()
_running: dict[tuple[str, int], _Resolution] = {}


def resolve(host: str, port: int, seconds: float) -> list[Place]:
    """The addresses of a name. Raises OSError if it has none, or if they are not known within `seconds`."""
    with _lock:
        current = _running.get((host, port))
        if current is None:
            if len(_running) >= MOST_NAMES:
                raise OSError("too many names at once")
            current = _Resolution(host, port)
            threading.Thread(target=current.run, daemon=True, name="resolver").start()
            _running[host, port] = current
    if not current.is_done.wait(max(0.0, seconds)):
        raise OSError("the name is not resolved in time")
    if current.failure:
        raise current.failure
    return current.found


def connect(host: str, port: int, admits: Callable[[str], bool], seconds: float) -> socket.socket:
    """A connection to the first of the name's admitted addresses that answers, within `seconds`.

    Every address gets an equal share of the time that is left. Raises OSError.
    """
    end = time.monotonic() + seconds
    admitted = [place for place in resolve(host, port, seconds) if admits(str(place[4][0]))][:MOST_ADDRESSES]
    failure = OSError("no admitted address")
    for position, place in enumerate(admitted):
        share = (end - time.monotonic()) / (len(admitted) - position)
        if share <= 0:
            raise OSError("connecting took too long")
        try:
            sock = _connected(place, min(CONNECT_TIMEOUT, share))
        except OSError as error:
            failure = error
        else:
            sock.settimeout(max(0.001, end - time.monotonic()))  # for the whole TLS handshake
            return sock
    raise failure


def _connected(place: Place, seconds: float) -> socket.socket:
    family, kind, protocol, _, address = place
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(seconds)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock
