"""Being refused and let in again, and who may do what, with real processes."""

import json
import re

import pytest
import requests

from b24app.models import Credential
from tests.flows.page import Page
from tests.processes import wait_until


@pytest.fixture
def running(app, sandbox):
    app.start("web", "worker", "beat")
    return app


@pytest.fixture
def admin(sandbox, running):
    return sandbox.user("acme", name="Ann", is_admin=True)


@pytest.fixture
def bob(sandbox, running, admin):
    sandbox.install("acme")
    return sandbox.user("acme", name="Bob", last_name="Worker")


def post_opening(app, opening):
    return requests.post(f"{app.url}/placement/", params=opening["query"], data=opening["fields"], timeout=30)


def people(app):
    return app.rows("select user_id, is_admin from defer_person order by user_id")


def test_a_job_waits_for_the_payment_and_goes_on_when_anybody_is_let_in(sandbox, running, admin, bob):
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(running, sandbox, bob)
    dialog = page.select(ids)
    sandbox.fault("*", "error", portal="acme", code="PAYMENT_REQUIRED", times=-1)
    job = page.defer(dialog)
    wait_until(lambda: running.value("select parked_why from defer_portal") == "payment", what="the refusal")
    assert "not paid for" in page.call("GET", f"/jobs/{job}/")
    assert "not paid for" in post_opening(running, sandbox.open("acme", admin)).text
    sandbox.clear_faults()
    Page(running, sandbox.open("acme", admin))
    assert "3 deferred" in page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}


def test_a_person_reconnects_from_outside_a_frame_and_their_job_goes_on(sandbox, running, bob):
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(running, sandbox, bob)
    dialog = page.select(ids)
    sandbox.revoke("acme", user=bob)
    job = page.defer(dialog)
    wait_until(lambda: running.value("select waiting_why from defer_job") == "person", what="the refusal")
    start = re.search(r'href="(/oauth/start/[^"]+)"', page.call("GET", f"/jobs/{job}/")).group(1)
    browser = requests.Session()
    leaving = browser.get(f"{running.url}{start}", allow_redirects=False, timeout=30)
    state = re.search(r"state=([^&]+)", leaving.headers["Location"]).group(1)
    query = {"code": sandbox.control("code", portal="acme", user=bob), "state": state}
    assert "You can go back to Bitrix24" in browser.get(f"{running.url}/", params=query, timeout=30).text
    assert "3 deferred" in page.wait_for(job)
    assert running.value("select state from defer_credential") == Credential.State.USABLE
    assert {change["person"] for change in sandbox.truth("acme")} == {bob}


def test_an_ordinary_person_who_opens_first_works_at_once_as_themselves(sandbox, running, bob):
    ids = sandbox.tasks("acme", count=2, status=3, creator=bob)
    page = Page.of_list(running, sandbox, bob)
    page.wait_for(page.defer(page.select(ids)))
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert [(number, bool(is_admin)) for number, is_admin in people(running)] == [(bob, False)]
    assert running.value("select sealed_application_token from defer_portal") == ""


def test_an_admin_who_lost_the_rights_decides_nothing_more(sandbox, running, admin, bob):
    page = Page(running, sandbox.open("acme", admin))
    owed = {"task_id": 11, "previous_status": 3}
    running.python(OWE.format(owed=json.dumps(owed)))
    sandbox.user("acme", number=admin, is_admin=False)
    assert "Only an administrator" in page.call("POST", "/owed/take-over/")
    assert "still sleep" not in post_opening(running, sandbox.open("acme", admin)).text
    assert [bool(is_admin) for _, is_admin in people(running)] == [False]
    assert running.value("select count(*) from defer_owedreturn") == 1
    sandbox.user("acme", number=admin, is_admin=True)
    again = Page(running, sandbox.open("acme", admin))
    assert "1 task is in your care now" in again.call("POST", "/owed/take-over/")


OWE = """
import json
from datetime import timedelta
from datetime import timedelta
from b24app import dates
from b24app.models import OwedReturn, Portal
now = dates.now()
kept = now + timedelta(days=1)
OwedReturn.objects.create(portal=Portal.objects.get(), deferred_at=now, kept_until=kept, **json.loads({owed!r}))
"""
