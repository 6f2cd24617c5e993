import contextlib
import json
import re
import socket
import threading
from pathlib import Path

import pytest

from b24app.bitrix import http
from b24app.bitrix.client import Client

ANY_PATH = re.compile(".*")
PAYLOADS = json.loads(Path(__file__).with_name("payloads.json").read_text())


@pytest.fixture(autouse=True)
def plain_http(monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@contextlib.contextmanager
def raw_server(first=b"", drop=b""):
    """Host and port of a server for one connection. It reads the request, sends `first`, and closes.

    With `drop` it does not close: it sends `drop` every 0.1 seconds until the block ends.
    """
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve():
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(first)
                with contextlib.suppress(OSError):
                    while drop and not stop.wait(0.1):
                        connection.sendall(drop)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        stop.set()
        thread.join(5)


@pytest.fixture
def egress():
    return http.Egress(local=True)


@pytest.fixture
def client(httpserver, egress):
    return Client(httpserver.url_for("/rest/"), "the-access-token", egress, timeout=10.0)


@pytest.fixture
def answering(httpserver):
    """Make the portal answer every request with a saved payload, or with the given body."""

    def answer(payload=None, *, status=None, body=None, headers=None):
        saved = PAYLOADS.get(payload, {"status": 200, "body": "", "headers": {}})
        content = saved["body"] if body is None else body
        httpserver.expect_request(ANY_PATH).respond_with_data(
            content if isinstance(content, (str, bytes)) else json.dumps(content),
            status=status or saved["status"],
            headers=headers or saved.get("headers"),
        )

    return answer
