"""All outgoing HTTP: connections only to admitted addresses, one keep-alive session per thread."""

import ipaddress
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.response import HTTPResponse

from b24app.bitrix import addresses, sockets, stopwatch
from b24app.bitrix.errors import BitrixError, NotRun, Refused, Unknown, Unreachable

LONGEST_PAGE = 2 * 1024 * 1024  # bytes of an answer, decompressed
LONGEST_BATCH = 4 * 1024 * 1024  # the same for a slice
LATEST_START = 15.0  # seconds until the request must have left: a portal may work on it for 60, and we wait for 75
# A box may be at any port, but not at that of another well-known service.
BAD_PORTS = frozenset({0, 21, 22, 23, 25, 53, 110, 111, 135, 139, 143, 389, 445, 465, 514, 587, 636, 993, 995})
BAD_PORTS |= {2049, 2375, 2379, 3306, 5432, 5672, 6379, 6443, 9200, 10250, 11211, 27017}
LONGEST_ENDPOINT = 300  # characters
ENDPOINT = re.compile(r"https?://([0-9a-zA-Z._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[0-9a-zA-Z._~-]+)*/rest/")
LATE_RETRY = 1.0  # seconds until a request that could not leave in time is tried again
USER_AGENT = "Defer/0.1"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Egress:
    """Which addresses this process may connect to: the public internet, and the `networks` of the operator.

    `local` also admits every other address and plain http, for the sandbox and for tests.
    """

    networks: tuple[Network, ...] = ()
    local: bool = False

    @classmethod
    def parse(cls, networks: Iterable[str], local: bool) -> "Egress":
        return cls(tuple(ipaddress.ip_network(network) for network in networks), local)

    def admits(self, address: str) -> bool:
        ip = addresses.parse(address)
        return self.local or addresses.is_public(ip) or any(ip in network for network in self.networks)

    def admits_url(self, url: str) -> bool:
        """Whether `url` may be called at all. Its IP addresses are checked when the connection is made."""
        try:
            parts = urlsplit(url)
            is_bad_port = parts.port in BAD_PORTS
        except ValueError:
            return False
        if is_bad_port and not self.local:
            return False
        if parts.username or parts.password or not parts.hostname:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and self.local)

    def admits_endpoint(self, url: str) -> bool:
        """Whether `url` can be the address of a portal's REST interface. It is stored, and named in headers."""
        return len(url) <= LONGEST_ENDPOINT and bool(ENDPOINT.fullmatch(url)) and self.admits_url(url)


@dataclass(frozen=True)
class Response:
    """The status, the body, and the target of a redirect."""

    status: int
    body: bytes
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Trace:
    """One exchange: the id that is sent with it, for both sides' logs, and the status of the answer."""

    request_id: uuid.UUID = field(default_factory=uuid.uuid4)
    status: int | None = None  # None: no answer

    @property
    def headers(self) -> dict[str, str]:
        # Never a parameter: legacy methods read parameters by their position.
        return {"X-Request-Id": str(self.request_id)}


def new_session(egress: Egress) -> OAuth2Session:
    """A session that connects only to addresses that `egress` admits, without cookies and environment proxies."""
    session = OAuth2Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})
    session.mount("https://", GuardedAdapter(egress))
    session.mount("http://", GuardedAdapter(egress))
    return session


def post(
    egress: Egress,
    url: str,
    json: dict[str, Any],
    timeout: float,
    trace: Trace | None = None,
    start_by: float | None = None,
    longest: int = LONGEST_PAGE,
) -> Response:
    """POST a JSON body. `timeout` is in seconds, for connecting and the whole answer together; `longest` is in bytes.

    No byte leaves after `start_by`, a time of the stopwatch: LATEST_START from now if it is None. Raises Unreachable if
    no connection was made, NotRun if it was too late (nothing was sent), Unknown if the answer was lost or too large,
    Refused if the address may not be called.
    """
    if not egress.admits_url(url):
        raise Refused("address_refused")
    try:
        with deadline(timeout, start_by):
            return _exchange(egress, url, json, timeout, trace or Trace(), longest)
    except requests.ConnectTimeout:
        raise Unreachable("connect_timeout") from None
    except requests.Timeout:
        raise Unknown("timeout") from None
    except requests.ConnectionError as error:
        raise _connection_error(error) from None
    except requests.RequestException as error:
        raise Unknown(type(error).__name__) from None


def _connection_error(error: requests.ConnectionError) -> BitrixError:
    """What a failed connection means: whether the request may have reached the portal."""
    match _root(error):
        case StartedLate():
            return NotRun("not_started_in_time", delay=LATE_RETRY)
        case NewConnectionError():
            return Unreachable("connect_failed")
        case _:
            return Unknown("connection_lost")


def _exchange(egress: Egress, url: str, json: dict[str, Any], timeout: float, trace: Trace, longest: int) -> Response:
    with _session(egress).post(
        url,
        json=json,
        headers=trace.headers,
        withhold_token=True,
        allow_redirects=False,
        stream=True,
        timeout=(min(sockets.CONNECT_TIMEOUT, timeout), timeout),
    ) as response:
        trace.status = response.status_code
        return Response(response.status_code, _read(response, longest), response.headers.get("Location", ""))


def _root(error: Exception) -> object:
    """The urllib3 error inside. A retry wrapper keeps it as `reason`."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)


def _read(response: requests.Response, longest: int) -> bytes:
    chunks, size = [], 0
    for chunk in response.iter_content(64 * 1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > longest:
            raise Unknown("answer_too_large")
    return b"".join(chunks)


_local = threading.local()


@contextmanager
def deadline(seconds: float, start_by: float | None = None) -> Iterator[None]:
    """Enforce a total deadline on this thread's request, even if the server keeps sending single bytes.

    A socket timeout would start again with every byte. Raises requests.Timeout, whatever error the cut caused.
    """
    current = _local.deadline = Deadline(seconds, start_by)
    timer = threading.Timer(seconds, current.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if current.is_over and not isinstance(_root(error), NewConnectionError):
            raise requests.Timeout from error
        raise
    else:
        if current.is_over:
            raise requests.Timeout
    finally:
        timer.cancel()
        _local.deadline = None


class Deadline:
    """Shuts down the watched connection when the time is over, which ends any wait on it.

    Also knows until when the request may start: the lease under which it is made ends, and a worker or its machine may
    have slept since.
    """

    def __init__(self, seconds: float, start_by: float | None = None) -> None:
        self.is_over = False
        self.has_started = False
        self.watched: socket.socket | None = None
        self.ends_at = time.monotonic() + seconds
        self.start_by = stopwatch.now() + LATEST_START if start_by is None else start_by

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return 0.0 if self.is_over else self.ends_at - time.monotonic()

    @property
    def is_late_to_start(self) -> bool:
        return self.is_over or stopwatch.now() > self.start_by

    def watch(self, sock: socket.socket) -> None:
        self.watched = sock
        if self.is_over:
            self.cut()

    def cut(self) -> None:
        self.is_over = True
        if self.watched:
            with suppress(OSError):  # it may be closed already
                # Not SSLSocket.shutdown: after that a reader would continue without TLS.
                socket.socket.shutdown(self.watched, socket.SHUT_RDWR)


def _session(egress: Egress) -> OAuth2Session:
    """This thread's session. It keeps connections open, so that a batch needs no new handshake."""
    sessions: dict[Egress, OAuth2Session] = _local.__dict__.setdefault("sessions", {})
    if egress not in sessions:
        sessions[egress] = new_session(egress)
    return sessions[egress]


class GuardedAdapter(HTTPAdapter):
    """Connects only to admitted addresses. Resolves the name once, so it cannot change after the check."""

    def __init__(self, egress: Egress) -> None:
        self.egress = egress
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, self.egress),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, self.egress),
        }


def _pool(pool: Any, connection: Any, egress: Egress) -> Any:
    """A pool class whose connections check their address, and raise NewConnectionError if nothing was sent."""

    def new_socket(self: HTTPConnection) -> socket.socket:
        return _connect(self, egress)

    def connect(self: HTTPConnection) -> None:
        _connect_in_time(self, connection.connect)

    def send(self: HTTPConnection, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _refuse_late(self)
        if current := _current():
            current.has_started = True
            current.watch(self.sock)
        connection.send(self, data)

    def getresponse(self: Any) -> HTTPResponse:
        if current := _current():
            current.watch(self.sock)
        response: HTTPResponse = connection.getresponse(self)
        return response

    methods = {"_new_conn": new_socket, "connect": connect, "send": send, "getresponse": getresponse}
    guarded = type(f"Guarded{connection.__name__}", (connection,), methods)
    return type(f"Guarded{pool.__name__}", (pool,), {"ConnectionCls": guarded})


class StartedLate(NewConnectionError):
    """The request was not sent, because its time to start was over: its lease may have ended."""


def _current() -> Deadline | None:
    """The deadline of this thread's request, if it has one."""
    current: Deadline | None = getattr(_local, "deadline", None)
    return current


def _connect_in_time(connection: HTTPConnection, connect: Callable[[HTTPConnection], None]) -> None:
    """Connect. Raises NewConnectionError if that failed or took too long, or StartedLate."""
    _refuse_late(connection)
    try:
        connect(connection)
    except OSError as error:  # TLS failed, or took too long: no part of the request was sent
        raise NewConnectionError(connection, f"no TLS: {error}") from error
    current = _current()
    if current and current.is_late_to_start:
        connection.close()
        raise NewConnectionError(connection, "connecting took too long")


def _refuse_late(connection: HTTPConnection) -> None:
    """Let no byte leave if it is too late, on a kept connection either.

    Raises StartedLate before the first byte. After it, the connection is closed without the rest, and the portal may or
    may not take that for a request: the answer is lost.
    """
    current = _current()
    if current is None or not current.is_late_to_start:
        return
    connection.close()
    if current.has_started:
        raise ConnectionAbortedError("it became too late to send the rest")
    raise StartedLate(connection, "too late to start")


def _connect(connection: HTTPConnection, egress: Egress) -> socket.socket:
    current = _current()
    left = current.left if current else sockets.CONNECT_TIMEOUT
    try:
        return sockets.connect(connection.host, connection.port or 0, egress.admits, left)
    except OSError as error:
        raise NewConnectionError(connection, f"cannot connect: {error}") from error
