"""Permissions, with real processes: employees, former administrators, people of other portals, forged requests."""

import json

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.flows.page import Page, post_opening

CREATE_ORPHAN = """
import json
from datetime import timedelta
from b24app import clock
from b24app.models import OrphanedDeferral, Portal
now = clock.now()
kept = now + timedelta(days=1)
OrphanedDeferral.objects.create(portal=Portal.objects.get(), deferred_at=now, kept_until=kept, **json.loads({orphan!r}))
"""


def people(app):
    found = app.rows("select user_id, is_admin from defer_person order by user_id")
    return [(number, bool(is_admin)) for number, is_admin in found]


def test_the_first_person_may_be_ordinary(sandbox, running, bob):
    sandbox.install("acme")
    ids = sandbox.tasks("acme", count=2, status=3, creator=bob)
    page = Page.of_list(running, sandbox, bob)
    page.wait_for(page.defer(page.select(ids)))
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert {change["person"] for change in sandbox.truth("acme")} == {bob}
    assert people(running) == [(bob, False)]
    assert running.value("select sealed_application_token from defer_portal") == ""


def test_a_former_admin_decides_nothing(sandbox, installed, admin):
    page = Page(installed, sandbox.open("acme", admin))
    orphan = {"task_id": 11, "previous_status": 3}
    installed.python(CREATE_ORPHAN.format(orphan=json.dumps(orphan)))
    sandbox.user("acme", number=admin, is_admin=False)
    assert "Only an administrator" in page.call("POST", "/orphans/adopt/")
    assert "are still deferred" not in Page(installed, sandbox.open("acme", admin)).text
    assert people(installed) == [(admin, False)]
    assert installed.value("select count(*) from defer_orphaneddeferral") == 1
    sandbox.user("acme", number=admin, is_admin=True)
    again = Page(installed, sandbox.open("acme", admin))
    assert "You have taken over 1 task." in again.call("POST", "/orphans/adopt/")


def test_two_portals_with_the_same_ids_stay_apart(sandbox, installed, bob):
    sandbox.user("umbrella", name="Zed", is_admin=True)
    sandbox.install("umbrella")
    twin = sandbox.user("umbrella", number=bob, name="Bob")
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob, title="Ours")
    theirs = sandbox.tasks("umbrella", count=3, status=3, creator=twin, title="Theirs")
    assert ids == theirs
    page = Page.of_list(installed, sandbox, bob)
    job = page.defer(page.select(ids))
    page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert set(sandbox.states("umbrella", theirs).values()) == {3}
    opening = sandbox.open("umbrella", twin, placement="TASK_USER_LIST_TOOLBAR", options={"USER_ID": str(twin)})
    their_page = Page(installed, opening)
    assert "Theirs" in their_page.text
    assert "Ours" not in their_page.text
    with pytest.raises(requests.HTTPError, match="404"):
        their_page.call("GET", f"/jobs/{job}/")
    foreign = sandbox.open("acme", bob)["fields"]
    assert post_opening(installed, opening, AUTH_ID=foreign["AUTH_ID"]).status_code == 403
    assert post_opening(installed, opening, member_id=foreign["member_id"]).status_code == 403


class From(HTTPAdapter):
    """Requests that come from another address of this machine."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=(self.address, 0), **kwargs)


def test_only_the_forger_is_turned_away(sandbox, installed, bob):
    opening = sandbox.open("acme", bob)
    forgery = {"AUTH_ID": "f" * 70}
    forged = [post_opening(installed, opening, **forgery).status_code for _ in range(5)]
    asked = len(sandbox.requests("acme")) + len(sandbox.requests(None))
    turned_away = post_opening(installed, opening, **forgery)
    assert forged == [403] * 5
    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (429, "60")
    assert "Too many attempts" in turned_away.text
    assert post_opening(installed, opening, "/install/", **forgery).status_code == 429
    assert post_opening(installed, opening, "/ticket/", **forgery).status_code == 401
    assert len(sandbox.requests("acme")) + len(sandbox.requests(None)) == asked
    with requests.Session() as elsewhere:
        elsewhere.mount("http://", From("127.0.0.2"))
        assert post_opening(installed, opening, session=elsewhere).status_code == 200
    assert post_opening(installed, sandbox.open("acme", bob)).status_code == 429
    sandbox.move_clock(61)
    assert post_opening(installed, sandbox.open("acme", bob)).status_code == 200
    assert people(installed)[-1] == (bob, False)
