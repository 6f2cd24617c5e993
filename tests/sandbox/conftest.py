from queue import Empty, Queue
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from werkzeug import Response


@pytest.fixture
def acme(sandbox):
    """Acme with the app installed. Ann is the administrator, Bob a worker; Zoe does not take part in his tasks."""
    acme, ann, bob, zoe = {"portal": "acme"}, 1, 2, 3
    *_, installation, bobs, anns = sandbox.many(
        ("user", acme | {"number": ann, "name": "Ann", "last_name": "Admin", "is_admin": True, "position": "CEO"}),
        ("user", acme | {"number": bob, "name": "Bob", "last_name": "Worker", "zone": "Europe/Berlin"}),
        ("user", acme | {"number": zoe, "name": "Zoe", "last_name": "Stranger"}),
        ("install", acme),
        ("open", acme | {"user": bob}),
        ("open", acme | {"user": ann}),
    )
    return SimpleNamespace(
        sandbox=sandbox,
        ann=ann,
        bob=bob,
        zoe=zoe,
        token=bobs["access"],
        admin_token=anns["access"],
        application_token=installation["application_token"],
    )


class Mailbox:
    """An event handler of an app: form fields posted to `url` become letters."""

    def __init__(self, httpserver):
        self.url = httpserver.url_for("/events/")
        self.letters = Queue()
        httpserver.expect_request("/events/").respond_with_handler(self.receive)

    def receive(self, request):
        assert request.content_type == "application/x-www-form-urlencoded"
        self.letters.put(request.get_data(as_text=True))
        return Response("ok")

    def read(self):
        return dict(parse_qsl(self.letters.get(timeout=5)))

    def is_empty(self, wait=0.3):
        """Whether nothing arrives for `wait` seconds."""
        try:
            self.letters.get(timeout=wait)
        except Empty:
            return True
        return False


@pytest.fixture
def mailbox(httpserver):
    return Mailbox(httpserver)
