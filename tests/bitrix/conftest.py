import json
import re
from pathlib import Path

import pytest

from b24app.bitrix import http
from b24app.bitrix.client import Client

ANY_PATH = re.compile(".*")
PAYLOADS = json.loads(Path(__file__).with_name("payloads.json").read_text())


@pytest.fixture(autouse=True)
def plain_http(monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


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
