"""The installer: its steps, and what a person can try again."""

import re

import pytest

from tests.web.conftest import nothing_is_stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(visit):
    return visit(finished=False, name="Ada", is_admin=True)


def install(visitor):
    page = visitor.post_opening("/install/", visitor.opening("DEFAULT", unused="x"))
    found = re.search(r'data-ticket="([^"]*)"', page.text)
    visitor.ticket = found.group(1) if found else ""
    return page


def test_an_admin_installs_in_three_steps(admin, sandbox, settings):
    page = install(admin)
    assert 'hx-post="/install/scope/" hx-trigger="load"' in page.text
    second = admin.post("/install/scope/")
    assert 'hx-post="/install/bind/" hx-trigger="load"' in second.text
    third = admin.post("/install/bind/")
    assert third["HX-Trigger-After-Swap"] == "installed"
    assert third.text.count('class="done"') == 3
    bound = sandbox.control("installation", portal="acme")
    handlers = {row["handler"] for row in bound["placements"]}
    assert len(bound["placements"]) == 5
    assert handlers == {f"{settings.PUBLIC_URL}/placement/"}
    assert [row["event"] for row in bound["events"]] == ["ONAPPUNINSTALL"]


def test_a_reinstall_binds_nothing_twice(admin, sandbox):
    for _ in range(2):
        install(admin)
        admin.post("/install/scope/")
        admin.post("/install/bind/")
    bound = sandbox.control("installation", portal="acme")
    assert (len(bound["placements"]), len(bound["events"])) == (5, 1)


def test_only_an_admin_can_install(visit):
    page = install(visit(finished=False))
    assert "Only an administrator can set up the app" in page.text
    assert "hx-trigger" not in page.text
    assert nothing_is_stored()


def test_a_missing_scope_can_be_tried_again(admin, sandbox):
    sandbox.install("acme", finished=False, scope="task,placement")
    install(admin)
    stopped = admin.post("/install/scope/")
    assert "im, user_brief" in stopped.text
    assert "Try again" in stopped.text
    assert "HX-Trigger-After-Swap" not in stopped
    assert 'hx-trigger="load"' not in stopped.text


def test_a_failed_bind_can_be_tried_again(admin, sandbox):
    install(admin)
    sandbox.fault("placement.bind", "error", code="ERROR_CORE", description="no", status=400)
    stopped = admin.post("/install/bind/")
    assert "Try again" in stopped.text
    assert "HX-Trigger-After-Swap" not in stopped
    sandbox.clear_faults()
    assert admin.post("/install/bind/")["HX-Trigger-After-Swap"] == "installed"


def test_an_outage_can_be_tried_again(admin, sandbox):
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    page = install(admin)
    assert "data-reopen" in page.text
    assert nothing_is_stored()


def test_a_forged_installation_is_refused(admin):
    opening = admin.opening("DEFAULT", unused="x")
    opening["fields"]["AUTH_ID"] = "f" * 70
    assert admin.post_opening("/install/", opening).status_code == 403
    assert nothing_is_stored()
