"""A portal that rejects the app, with real processes: state, messages, recovery, and jobs that continue."""

import html
import time
from datetime import UTC, datetime

import pytest

from b24app.bitrix.errors import error_for
from b24app.models import Job
from b24app.web import texts
from tests.flows.page import Page, post_opening
from tests.processes import wait_until

WaitReason = Job.WaitReason
HOUR, DAY = 3600, 86400
SCOPE = "task,placement,user_brief,im"


def refuse_all(code):
    return ("fault", {"method": "*", "kind": "error", "portal": "acme", "code": code, "times": -1})


def portal(**fields):
    return ("portal", {"portal": "acme", **fields})


def person(**fields):
    """Bob, as the fixtures make him."""
    return ("user", {"portal": "acme", "number": 2, **fields})


def scope(scope):
    return ("installation", {"portal": "acme", "scope": scope})


OVER = ("clear_faults", {})

# The portal's code, whom it affects, its meaning, how long jobs wait, and how the test begins and ends it.
TABLE = [
    ("ACCESS_DENIED", "portal", WaitReason.PLAN, DAY, portal(rest_allowed=False), portal(rest_allowed=True)),
    ("PAYMENT_REQUIRED", "portal", WaitReason.PAYMENT, DAY, refuse_all("PAYMENT_REQUIRED"), OVER),
    ("insufficient_scope", "portal", WaitReason.SCOPE, DAY, scope("placement,user_brief,im"), scope(SCOPE)),
    ("METHOD_CONFIRM_WAITING", "portal", WaitReason.CONFIRM, HOUR, refuse_all("METHOD_CONFIRM_WAITING"), OVER),
    ("OVERLOAD_LIMIT", "portal", WaitReason.OVERLOAD, HOUR, refuse_all("OVERLOAD_LIMIT"), OVER),
    ("PORTAL_DELETED", "portal", WaitReason.DELETED, DAY, portal(deleted=True), portal(deleted=False)),
    ("authorization_error", "Bob", WaitReason.DISMISSED, HOUR, person(active=False), person(active=True)),
    ("user_access_error", "Bob", WaitReason.RESTRICTED, HOUR, person(may_use_app=False), person(may_use_app=True)),
    ("ALLOWED_ONLY_INTRANET_USER", "Bob", WaitReason.RESTRICTED, HOUR, refuse_all("ALLOWED_ONLY_INTRANET_USER"), OVER),
]
REFUSALS = pytest.mark.parametrize(
    "code, whom, why, pause, begin, end", [pytest.param(*row, id=row[0]) for row in TABLE]
)


@pytest.fixture
def asked(sandbox, installed, bob):
    """Bob's page, an open dialog about three of his tasks, and the ids of the tasks."""
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    return page, page.select(ids), ids


def obstacle(app):
    """Wait until the app notices the rejection; return whom it affects, the reason, and the end of the wait."""

    def noticed():
        ((why, until),) = app.rows("select parked_reason, parked_until from defer_portal")
        of_bob = app.rows("select wait_reason, wait_until from defer_job")
        return ("portal", why, until) if why else of_bob[0][0] and ("Bob", *of_bob[0])

    return wait_until(noticed, what="the rejection")


def seconds_until(moment):
    """The seconds from now to a moment in a database's format."""
    read = datetime.fromisoformat(str(moment))
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() - time.time()


@REFUSALS
def test_each_refusal_has_a_state_and_ends(sandbox, installed, bob, asked, code, whom, why, pause, begin, end):
    page, dialog, ids = asked
    sandbox.control(begin[0], **begin[1])
    job = page.defer(dialog)
    *found, until = obstacle(installed)
    assert found == [whom, why]
    assert pause - 60 < seconds_until(until) < pause
    assert str(texts.WAITS[why]) in page.panel(job)
    for text in (page.call("GET", "/tasks/"), post_opening(installed, sandbox.open("acme", bob)).text):
        assert texts.trouble(error_for(code)).title in html.unescape(text)
        assert code in text
        assert "Try again" in text
    assert obstacle(installed) == (whom, why, until)
    sandbox.control(end[0], **end[1])
    sandbox.move_clock(pause)
    assert "3 deferred" in page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert installed.value("select parked_reason from defer_portal") == ""


@REFUSALS
def test_regained_access_resumes_at_once(sandbox, installed, admin, bob, asked, code, whom, why, pause, begin, end):
    page, dialog, _ = asked
    sandbox.control(begin[0], **begin[1])
    job = page.defer(dialog)
    assert obstacle(installed)[:2] == (whom, why)
    sandbox.control(end[0], **end[1])
    Page(installed, sandbox.open("acme", admin if whom == "portal" else bob))
    assert "3 deferred" in page.wait_for(job)


@pytest.mark.parametrize("fields", [{"active": False}, {"may_use_app": False}], ids=["dismissed", "restricted"])
def test_a_personal_refusal_stops_no_one_else(sandbox, installed, bob, asked, fields):
    page, dialog, ids = asked
    eve = sandbox.user("acme", name="Eve")
    hers = sandbox.tasks("acme", count=3, status=3, creator=eve)
    sandbox.user("acme", number=bob, **fields)
    job = page.defer(dialog)
    assert obstacle(installed)[0] == "Bob"
    her_page = Page.of_list(installed, sandbox, eve)
    assert "3 deferred" in her_page.wait_for(her_page.defer(her_page.select(hers)))
    assert set(sandbox.states("acme", ids).values()) == {3}
    assert "We check once an hour" in page.panel(job)
