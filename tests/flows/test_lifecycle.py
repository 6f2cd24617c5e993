"""Installation, with real processes: reinstalls, updates, partial and concurrent installations, and repairs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from b24app.portals.installation import PLACEMENTS
from tests.flows.page import Page, install, run_installer
from tests.processes import wait_until

ONE_OF_EACH = ("defer_portal", "defer_person", "defer_credential")


def bound(app, sandbox):
    """The app's placements and events at the portal; asserts that each is bound once, to our address."""
    found = sandbox.control("installation", portal="acme")
    entries = [(row["placement"], row["handler"]) for row in found["placements"]]
    assert sorted(entries) == [(code, f"{app.url}/placement/") for code in sorted(PLACEMENTS)]
    assert [(row["event"], row["handler"]) for row in found["events"]] == [("ONAPPUNINSTALL", f"{app.url}/events/")]
    return True


def counted(app, *tables):
    return [app.value(f"select count(*) from {table}") for table in tables]


def defer_tasks(app, sandbox, bob):
    """Defer three of Bob's tasks; return the job and the ids of the tasks."""
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(app, sandbox, bob)
    job = page.defer(page.select(ids))
    page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}
    return job, ids


def test_a_reinstall_starts_clean(sandbox, installed, admin, bob):
    Page(installed, sandbox.open("acme", admin))
    defer_tasks(installed, sandbox, bob)
    sandbox.uninstall("acme", clean=False)
    wait_until(lambda: installed.value("select status from defer_portal") == "uninstalled", what="the uninstall")
    install(installed, sandbox, admin)
    assert installed.value("select status from defer_portal") == "active"
    assert counted(installed, *ONE_OF_EACH) == [1, 1, 1]
    assert bound(installed, sandbox)
    defer_tasks(installed, sandbox, bob)
    assert counted(installed, *ONE_OF_EACH) == [1, 2, 2]


@pytest.mark.parametrize("kept", [True, False], ids=["keeps-bindings", "forgets-bindings"])
def test_an_update_keeps_deferrals(sandbox, installed, admin, bob, kept):
    job, ids = defer_tasks(installed, sandbox, bob)
    sandbox.turn({"update.keeps_bindings": kept})
    old = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": "http://127.0.0.1:1/placement/", "TITLE": "Old"}
    sandbox.rest("acme", "placement.bind", old, token=sandbox.access("acme", admin))
    sandbox.control("update", portal="acme")
    assert sandbox.open("acme", admin)["url"].startswith(f"{installed.url}/install/")
    run_installer(installed, sandbox, admin)
    sandbox.control("finish", portal="acme")
    assert bound(installed, sandbox)
    deferrals = installed.rows("select task_id from defer_deferral where state = 'sleeping' order by task_id")
    assert deferrals == [(id,) for id in ids]
    assert counted(installed, *ONE_OF_EACH, "defer_job") == [1, 2, 2, 1]
    page = Page.of_list(installed, sandbox, bob)
    assert "3 returned" in page.wait_for(page.undo(job))
    assert set(sandbox.states("acme", ids).values()) == {3}


def test_a_reopened_installer_binds_once(sandbox, running, admin):
    sandbox.install("acme", finished=False)
    Page(running, sandbox.open("acme", admin), "/install/")
    page = Page(running, sandbox.open("acme", admin), "/install/")
    for _ in range(2):
        page.call("POST", "/install/scope/")
        page.call("POST", "/install/bind/")
    assert bound(running, sandbox)
    assert counted(running, *ONE_OF_EACH) == [1, 1, 1]


def test_two_installers_bind_once(sandbox, running, admin):
    sandbox.install("acme", finished=False)
    admins = [admin, sandbox.user("acme", name="Zoe", is_admin=True)]
    sandbox.fault("batch", "late", seconds=0.3, times=2)  # both administrators read the empty list before either binds
    with ThreadPoolExecutor(2) as browsers:
        list(browsers.map(lambda number: run_installer(running, sandbox, number), admins))
    assert bound(running, sandbox)
    assert counted(running, *ONE_OF_EACH) == [1, 2, 2]


def test_an_admins_opening_repairs_bindings(sandbox, installed, admin):
    for number in (admin, sandbox.user("acme", name="Zoe", is_admin=True)):
        token = sandbox.access("acme", number)
        sandbox.rest("acme", "placement.unbind", {"PLACEMENT": "TASK_VIEW_TAB"}, token=token)
        sandbox.rest("acme", "event.unbind", {"event": "ONAPPUNINSTALL", "handler": f"{installed.url}/events/"}, token)
        assert len(sandbox.control("installation", portal="acme")["placements"]) == len(PLACEMENTS) - 1
        sandbox.move_clock(2 * 3600 * number)  # the app checks its bindings once an hour
        Page(installed, sandbox.open("acme", number))
        wait_until(lambda: is_bound(sandbox), what="the repair")
        assert bound(installed, sandbox)


def is_bound(sandbox):
    found = sandbox.control("installation", portal="acme")
    return len(found["placements"]) == len(PLACEMENTS) and found["events"]
