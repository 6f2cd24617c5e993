"""Uninstalls, with real processes: what stops, which reports count, what is erased, and what a reinstall restores."""

import pytest
import requests

from tests.flows.page import Page, install, post_opening
from tests.processes import wait_until

PERSONAL = ("Bob", "Ann", "Prepare the budget", "waiting for parts")
PEOPLE = ("defer_person", "defer_credential", "defer_job", "defer_jobitem", "defer_deferral", "defer_selection")
MINUTE, HOUR, DAY = 60, 3600, 86400


def status(app):
    return [row[0] for row in app.rows("select status from defer_portal")]


def left_of(app, *tables):
    return {table: app.value(f"select count(*) from {table}") for table in tables}


def wait_for_uninstall(app):
    wait_until(lambda: status(app) == ["uninstalled"], what="the uninstall")


def orphans(app):
    return app.rows("select task_id, previous_status from defer_orphaneddeferral order by task_id")


@pytest.fixture
def deferred(sandbox, installed, admin, bob):
    """Three of Bob's tasks that the app deferred with a reason. Ann has opened the app too."""
    Page(installed, sandbox.open("acme", admin))
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob, title="Prepare the budget")
    page = Page.of_list(installed, sandbox, bob)
    page.wait_for(page.defer(page.select(ids), "waiting for parts"))
    return ids


def test_an_uninstall_keeps_orphans_without_names(sandbox, installed, admin, deferred):
    opening = sandbox.open("acme", admin)
    sandbox.uninstall("acme", clean=False)
    wait_for_uninstall(installed)
    assert left_of(installed, *PEOPLE) == dict.fromkeys(PEOPLE, 0)
    assert orphans(installed) == [(id, 3) for id in deferred]
    assert set(sandbox.states("acme", deferred).values()) == {6}
    kept = str([installed.rows(f"select * from defer_{table}") for table in ("portal", "orphaneddeferral", "restcall")])
    assert not any(word in kept for word in PERSONAL)
    assert post_opening(installed, opening, AUTH_ID="f" * 70).status_code == 403
    sandbox.move_clock(89 * DAY)
    failed_proofs = "defer_failedopening"  # the sweep cleans this table last
    wait_until(lambda: left_of(installed, failed_proofs) == {failed_proofs: 0}, what="a sweep")
    assert len(orphans(installed)) == 3
    sandbox.move_clock(91 * DAY)
    wait_until(lambda: not orphans(installed) and not status(installed), what="the deletion of the orphans")


def test_a_clean_uninstall_keeps_nothing(sandbox, installed, deferred):
    sandbox.uninstall("acme", clean=True)
    wait_until(lambda: status(installed) == [], what="the uninstall")
    assert left_of(installed, *PEOPLE, "defer_orphaneddeferral") == dict.fromkeys(
        (*PEOPLE, "defer_orphaneddeferral"), 0
    )
    journal = str(installed.rows("select params, outcome from defer_restcall"))
    assert not any(word in journal for word in (*PERSONAL, "taskId"))


def test_the_first_call_notices_an_uninstall(sandbox, installed, bob, deferred):
    page = Page.of_list(installed, sandbox, bob)
    sandbox.turn({"events.never": True})
    sandbox.uninstall("acme")
    page.call("GET", "/tasks/")
    wait_for_uninstall(installed)
    assert left_of(installed, *PEOPLE) == dict.fromkeys(PEOPLE, 0)


def test_no_answer_erases_tokens_after_a_day(sandbox, installed, admin, bob, deferred):
    page = Page.of_list(installed, sandbox, bob)
    sandbox.fault("oauth/token", "cut", times=-1)
    sandbox.uninstall("acme", clean=False)
    wait_until(lambda: questions(sandbox), what="the question")
    with pytest.raises(requests.HTTPError, match="401"):
        page.call("GET", "/tasks/")
    for hours in (2, 23):
        asked = questions(sandbox)
        sandbox.move_clock(hours * HOUR)
        wait_until(lambda asked=asked: questions(sandbox) > asked, what="another question")
    assert (status(installed), left_of(installed, "defer_credential")) == (["suspended"], {"defer_credential": 2})
    sandbox.move_clock(25 * HOUR)
    wait_until(
        lambda: left_of(installed, "defer_credential") == {"defer_credential": 0}, what="the deletion of the tokens"
    )
    assert (status(installed), left_of(installed, "defer_deferral")) == (["suspended"], {"defer_deferral": 3})
    sandbox.clear_faults()
    sandbox.install("acme")
    Page(installed, sandbox.open("acme", admin))
    assert (status(installed), left_of(installed, "defer_deferral")) == (["active"], {"defer_deferral": 3})


def test_no_answer_for_a_week_is_an_uninstall(sandbox, installed, bob, deferred):
    sandbox.fault("oauth/token", "cut", times=-1)
    sandbox.uninstall("acme", clean=False)
    wait_until(lambda: questions(sandbox), what="the question")
    sandbox.move_clock(167 * HOUR)
    wait_until(
        lambda: left_of(installed, "defer_credential") == {"defer_credential": 0}, what="the deletion of the tokens"
    )
    assert (status(installed), left_of(installed, "defer_deferral")) == (["suspended"], {"defer_deferral": 3})
    sandbox.move_clock(169 * HOUR)
    wait_until(lambda: status(installed) == ["uninstalled"], what="the erasure")
    assert left_of(installed, "defer_person", "defer_jobitem") == {"defer_person": 0, "defer_jobitem": 0}
    assert [id for id, _ in orphans(installed)] == deferred


def questions(sandbox):
    """The number of refresh requests to the authorization server."""
    return sum(request["method"] == "oauth/token" for request in sandbox.requests(None))


# -- Forgeries


def report(app, opening, **changes):
    """Send a forged uninstall event. Its application token was read from a browser, so it is correct."""
    fields = {
        "event": "ONAPPUNINSTALL",
        "data[CLEAN]": "1",
        "auth[member_id]": opening["fields"]["member_id"],
        "auth[application_token]": opening["fields"]["APPLICATION_TOKEN"],
    }
    answer = requests.post(f"{app.url}/events/", data=fields | changes, timeout=30)
    assert (answer.status_code, answer.text) == (200, "ok")


def refuted(app):
    return app.value("select uninstall_refuted_at from defer_portal")


def complaints(app, words):
    """How often the app's logs contain these words."""
    return sum(app.log(name).read_text().count(words) for name in ("web", "worker"))


def test_a_forged_uninstall_is_refuted(sandbox, installed, admin, bob):
    opening = sandbox.open("acme", admin)
    Page(installed, opening)
    sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    ids = sandbox.tasks("acme", count=40, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    page.defer(page.select(ids))
    wait_until(lambda: sandbox.truth("acme"), what="the first change")
    report(installed, opening)
    wait_until(lambda: refuted(installed), what="the refutation")
    wait_until(lambda: installed.value("select state from defer_job") == "finished", 60, "the job")
    assert status(installed) == ["active"]
    assert set(sandbox.states("acme", ids).values()) == {6}


def test_reports_after_a_forged_one_are_ignored(sandbox, installed, admin):
    opening = sandbox.open("acme", admin)
    Page(installed, opening)
    forged, ignored = "the reported uninstall was forged", "another uninstall reported soon after a forged one"
    before = complaints(installed, forged), complaints(installed, ignored)
    report(installed, opening)
    first = wait_until(lambda: refuted(installed), what="the refutation")
    sandbox.move_clock(9 * MINUTE)
    asked = questions(sandbox)
    report(installed, opening)
    assert status(installed) == ["active"]
    sandbox.move_clock(11 * MINUTE)
    assert questions(sandbox) == asked
    report(installed, opening)
    wait_until(lambda: refuted(installed) != first, what="another refutation")
    assert questions(sandbox) == asked + 1
    wait_until(lambda: complaints(installed, forged) == before[0] + 2, what="the log")
    assert complaints(installed, ignored) == before[1] + 1


def test_a_wrong_token_changes_nothing(sandbox, installed, admin):
    opening = sandbox.open("acme", admin)
    report(installed, opening, **{"auth[application_token]": "f" * 32})
    report(installed, opening, **{"auth[application_token]": "f" * 32, "auth[member_id]": "f" * 32})
    assert status(installed) == ["active"]


# -- After a reinstall


def reinstall(app, sandbox, admin):
    """Uninstall and install the app; return the page that Ann opens."""
    sandbox.uninstall("acme", clean=False)
    wait_for_uninstall(app)
    install(app, sandbox, admin)
    return Page(app, sandbox.open("acme", admin))


def deferrals(app):
    """The deferrals: task, person and previous status."""
    query = "select task_id, user_id, previous_status from defer_deferral d join defer_person p on p.id = d.person_id"
    return app.rows(f"{query} order by task_id")


def test_an_admin_adopts_or_discards_orphans(sandbox, installed, admin, bob, deferred):
    page = reinstall(installed, sandbox, admin)
    assert "are still deferred" not in Page.of_list(installed, sandbox, bob).text
    assert "3 tasks that the app deferred before it was uninstalled are still deferred" in page.text
    assert "You have taken over 3 tasks." in page.call("POST", "/orphans/adopt/")
    assert deferrals(installed) == [(id, admin, 3) for id in deferred]
    assert orphans(installed) == []

    page = reinstall(installed, sandbox, admin)
    assert "3 tasks that the app deferred before it was uninstalled are still deferred" in page.text
    assert "Dismissed" in page.call("POST", "/orphans/discard/")
    assert (orphans(installed), deferrals(installed)) == ([], [])
    assert "are still deferred" not in Page(installed, sandbox.open("acme", admin)).text
    assert set(sandbox.states("acme", deferred).values()) == {6}


def test_an_admin_returns_adopted_tasks(sandbox, installed, admin, deferred):
    page = reinstall(installed, sandbox, admin)
    page.call("POST", "/orphans/adopt/")
    page.call("POST", "/orphans/return/")
    wait_until(lambda: set(sandbox.states("acme", deferred).values()) == {3}, what="the return")
    assert {change["person"] for change in sandbox.truth("acme")[-6:]} == {admin}
    sleeping = "select count(*) from defer_deferral where state = 'sleeping'"
    wait_until(lambda: not installed.value(sleeping), what="the deferrals to end")
    assert "You have taken over" not in Page(installed, sandbox.open("acme", admin)).text
