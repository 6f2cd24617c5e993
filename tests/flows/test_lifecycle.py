"""The turns that an installation takes, with real processes: removed, forged, moved, updated, installed anew."""

import pytest
import requests

from b24app.portals import PLACEMENTS
from tests.flows.page import Page
from tests.processes import wait_until

PEOPLE = ("defer_person", "defer_credential", "defer_job", "defer_jobitem", "defer_deferral", "defer_selection")


@pytest.fixture
def running(app):
    app.start("web", "worker", "beat")
    return app


@pytest.fixture
def admin(sandbox, running):
    return sandbox.user("acme", name="Ann", is_admin=True)


@pytest.fixture
def bob(sandbox, running):
    return sandbox.user("acme", name="Bob", last_name="Worker")


def install(app, sandbox, admin):
    """What an admin's browser does: installer, its steps, installFinish."""
    sandbox.install("acme", finished=False)
    page = Page(app, sandbox.open("acme", admin), "/install/")
    page.call("POST", "/install/scope/")
    page.call("POST", "/install/bind/")
    sandbox.control("finish", portal="acme")


@pytest.fixture
def installed(running, sandbox, admin):
    install(running, sandbox, admin)
    return running


def listed(sandbox, admin):
    rows = sandbox.rest("acme", "placement.get", token=sandbox.access("acme", admin)).json()["result"]
    return sorted(row["placement"] for row in rows)


def put_to_sleep(app, sandbox, bob, count=3):
    ids = sandbox.tasks("acme", count=count, status=3, creator=bob, title="Prepare the budget")
    page = Page.of_list(app, sandbox, bob)
    page.wait_for(page.defer(page.select(ids), "waiting for parts"))
    return ids


def status(app):
    return [row[0] for row in app.rows("select status from defer_portal")]


def left_of(app, tables):
    return {table: app.value(f"select count(*) from {table}") for table in tables}


def uninstall_event(sandbox, app, admin):
    """The event as a forger sends it: everything right, the token read from a browser."""
    fields = sandbox.open("acme", admin)["fields"]
    return requests.post(
        f"{app.url}/events/",
        data={
            "event": "ONAPPUNINSTALL",
            "data[CLEAN]": "1",
            "auth[member_id]": fields["member_id"],
            "auth[application_token]": fields["APPLICATION_TOKEN"],
        },
        timeout=30,
    )


def test_removing_the_app_keeps_what_we_owe_and_nobodys_name(sandbox, installed, admin, bob):
    Page(installed, sandbox.open("acme", admin))
    ids = put_to_sleep(installed, sandbox, bob)
    sandbox.uninstall("acme", clean=False)
    wait_until(lambda: status(installed) == ["uninstalled"], what="the removal")
    assert left_of(installed, PEOPLE) == dict.fromkeys(PEOPLE, 0)
    owed = "select task_id, previous_status from defer_owedreturn order by task_id"
    assert installed.rows(owed) == [(id, 3) for id in ids]
    assert set(sandbox.states("acme", ids).values()) == {6}


def test_a_clean_removal_leaves_nothing_but_a_stripped_journal(sandbox, installed, admin, bob):
    Page(installed, sandbox.open("acme", admin))
    put_to_sleep(installed, sandbox, bob)
    sandbox.uninstall("acme", clean=True)
    wait_until(lambda: status(installed) == [], what="the removal")
    assert left_of(installed, (*PEOPLE, "defer_owedreturn")) == dict.fromkeys((*PEOPLE, "defer_owedreturn"), 0)
    journal = str(installed.rows("select params, outcome from defer_restcall"))
    assert not any(word in journal for word in ("Prepare", "waiting", "taskId"))


def test_a_forged_removal_is_refuted_and_work_goes_on_by_itself(sandbox, installed, admin, bob):
    Page(installed, sandbox.open("acme", admin))
    sandbox.turn({"cost.tasks.task.defer": 0.03, "cost.tasks.task.pause": 0.03})
    ids = sandbox.tasks("acme", count=60, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    page.defer(page.select(ids))
    wait_until(lambda: sandbox.truth("acme"), what="the first change")
    assert uninstall_event(sandbox, installed, admin).text == "ok"
    wait_until(lambda: installed.value("select removal_refuted_at from defer_portal"), what="the refutation")
    wait_until(lambda: installed.value("select state from defer_job") == "finished", 60, "the job")
    assert status(installed) == ["active"]
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert uninstall_event(sandbox, installed, admin).text == "ok"
    assert status(installed) == ["active"]


def test_an_event_with_a_wrong_token_gets_the_same_answer_and_changes_nothing(sandbox, installed, admin):
    fields = sandbox.open("acme", admin)["fields"]
    for member_id in (fields["member_id"], "f" * 32):
        data = {"event": "ONAPPUNINSTALL", "auth[member_id]": member_id, "auth[application_token]": "f" * 32}
        answer = requests.post(f"{installed.url}/events/", data=data, timeout=30)
        assert (answer.status_code, answer.text) == (200, "ok")
    assert status(installed) == ["active"]


def test_a_removal_that_no_event_reported_is_found_by_the_first_call(sandbox, installed, admin, bob):
    put_to_sleep(installed, sandbox, bob)
    page = Page.of_list(installed, sandbox, bob)
    sandbox.turn({"events.never": True})
    sandbox.uninstall("acme")
    page.call("GET", "/tasks/")
    wait_until(lambda: status(installed) == ["uninstalled"], what="the removal")
    assert left_of(installed, PEOPLE) == dict.fromkeys(PEOPLE, 0)


def test_installing_anew_starts_clean_with_one_of_everything(sandbox, installed, admin, bob):
    Page(installed, sandbox.open("acme", admin))
    put_to_sleep(installed, sandbox, bob)
    sandbox.uninstall("acme", clean=False)
    wait_until(lambda: status(installed) == ["uninstalled"], what="the removal")
    install(installed, sandbox, admin)
    assert status(installed) == ["active"]
    assert listed(sandbox, admin) == sorted(PLACEMENTS)
    again = put_to_sleep(installed, sandbox, bob)
    assert set(sandbox.states("acme", again).values()) == {6}


def test_an_installer_left_half_done_and_reopened_binds_everything_once(sandbox, running, admin):
    sandbox.install("acme", finished=False)
    Page(running, sandbox.open("acme", admin), "/install/")
    page = Page(running, sandbox.open("acme", admin), "/install/")
    for _ in range(2):
        page.call("POST", "/install/scope/")
        page.call("POST", "/install/bind/")
    assert listed(sandbox, admin) == sorted(PLACEMENTS)
    assert left_of(running, ("defer_portal", "defer_person")) == {"defer_portal": 1, "defer_person": 1}


def test_an_admins_opening_puts_back_what_was_unbound(sandbox, installed, admin):
    token = sandbox.access("acme", admin)
    sandbox.rest("acme", "placement.unbind", {"PLACEMENT": "TASK_VIEW_TAB"}, token=token)
    installed.python("from b24app.models import Portal; Portal.objects.update(bindings_checked_at=None)")
    Page(installed, sandbox.open("acme", admin))
    wait_until(lambda: listed(sandbox, admin) == sorted(PLACEMENTS), what="the repair")


@pytest.fixture
def rename(sandbox):
    old = sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")
    yield lambda: sandbox.control("rename", portal="acme", host=new)
    sandbox.control("rename", portal="acme", host=old)


def test_a_portal_renamed_in_the_middle_of_a_job_is_followed_and_the_job_ends(sandbox, installed, bob, rename):
    sandbox.turn({"cost.tasks.task.defer": 0.03, "cost.tasks.task.pause": 0.03})
    ids = sandbox.tasks("acme", count=60, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    job = page.defer(page.select(ids))
    wait_until(lambda: sandbox.truth("acme"), what="the first change")
    rename()
    assert "60 deferred" in page.wait_for(job)
    assert len(sandbox.truth("acme")) == 120
    assert "127.0.0.1" in installed.value("select endpoint from defer_portal")


def test_the_frame_of_a_renamed_portal_is_allowed_for_its_new_address_only(sandbox, installed, bob, rename):
    old = sandbox.url("acme").rstrip("/")
    Page.of_list(installed, sandbox, bob)
    rename()
    opening = sandbox.open("acme", bob)
    answer = requests.post(f"{installed.url}/placement/", params=opening["query"], data=opening["fields"], timeout=30)
    policy = answer.headers["Content-Security-Policy"]
    assert f"frame-ancestors {old.replace('localhost', '127.0.0.1')}" in policy
    assert old not in policy


def test_a_person_of_another_portal_with_the_same_id_sees_and_touches_only_their_own(sandbox, installed, bob):
    twin_admin = sandbox.user("umbrella", name="Zed", is_admin=True)
    sandbox.install("umbrella")
    twin = next(number for number in iter(lambda: sandbox.user("umbrella", name="Bob"), None) if number == bob)
    assert twin_admin != twin
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    theirs = sandbox.tasks("umbrella", count=3, status=3, creator=twin)
    page = Page.of_list(installed, sandbox, bob)
    page.wait_for(page.defer(page.select(ids)))
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert set(sandbox.states("umbrella", theirs).values()) == {3}
    job = installed.value("select id from defer_job")
    opening = sandbox.open("umbrella", twin, placement="TASK_USER_LIST_TOOLBAR", options={"USER_ID": str(twin)})
    with pytest.raises(requests.HTTPError, match="404"):
        Page(installed, opening).call("GET", f"/jobs/{job}/")
