"""Openings that the portal confirms too late: the page asks for the rest with a one-use code."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from b24app import clock
from b24app.models import Credential

pytestmark = pytest.mark.django_db


@pytest.fixture
def open_slowly(bob, sandbox, monkeypatch):
    """Post an opening that the portal confirms too late; return the answer."""

    def post(opening):
        sandbox.fault("batch", "late", seconds=1, times=1)
        with monkeypatch.context() as impatient:
            impatient.setattr("b24app.portals.openings.OPENING_TIMEOUT", 0.3)
            return bob.post_opening("/placement/", opening)

    return post


def test_a_slow_portal_is_asked_again_once(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    page = open_slowly(bob.opening())
    assert "Select: Mine" not in page.text
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    assert page.text.count(code) == 1
    rest = Client().post("/opening/", {"code": code})
    assert "Select: Mine" in rest.text
    bob.ticket = rest["X-Ticket"]
    assert bob.get("/tasks/").status_code == 200
    assert Client().post("/opening/", {"code": code}).status_code == 401


def test_a_slow_opening_keeps_newer_tokens(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    page = open_slowly(bob.opening())
    newer = bob.opening()
    bob.post_opening("/placement/", newer)
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    assert "Select: Mine" in Client().post("/opening/", {"code": code}).text
    assert Credential.objects.get().access_token == newer["fields"]["AUTH_ID"]


def test_a_slow_opening_replaces_dead_tokens(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    slow = bob.opening()
    page = open_slowly(slow)
    bob.open()
    Credential.objects.update(state=Credential.State.NEEDS_REOPEN)
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    Client().post("/opening/", {"code": code})
    credential = Credential.objects.get()
    assert (credential.state, credential.access_token) == (Credential.State.USABLE, slow["fields"]["AUTH_ID"])


def test_a_slow_openings_code_expires(bob, sandbox):
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    page = bob.post_opening("/placement/", bob.opening())
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    with time_machine.travel(clock.now() + timedelta(seconds=61)):
        assert Client().post("/opening/", {"code": code}).status_code == 401
