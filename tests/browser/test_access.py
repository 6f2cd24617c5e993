"""Signing in again, and the question to an administrator after a reinstall, in Chromium."""

from playwright.sync_api import expect

CREATE_ORPHANS = """
from datetime import timedelta
from b24app import clock
from b24app.models import OrphanedDeferral, Portal
portal = Portal.objects.get()
portal.epoch += 1  # as with every uninstall
portal.save()
now = clock.now()
kept = now + timedelta(days=1)
for task in {ids}:
    OrphanedDeferral.objects.create(portal=portal, task_id=task, previous_status=3, deferred_at=now, kept_until=kept)
"""


def button(frame, name):
    return frame.get_by_role("button", name=name, exact=True)


def test_a_new_window_connects_the_person(desk, tasks, sandbox, page):
    ids = tasks(2, title="Call the supplier")
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Defer…").click()
    frame.get_by_role("dialog").get_by_role("button", name="Defer 2 tasks").wait_for()
    sandbox.revoke("acme", user=desk.number)
    button(frame, "Defer 2 tasks").click()
    link = frame.get_by_role("link", name="Connect in a new window")
    link.wait_for()
    with page.context.expect_page() as opened:
        link.click()
    expect(opened.value.get_by_role("heading", name="You are connected")).to_be_visible()
    opened.value.close()
    expect(frame.get_by_role("heading", name="2 deferred")).to_be_visible(timeout=30_000)
    assert set(sandbox.states("acme", ids).values()) == {6}


def test_an_admin_adopts_and_returns_tasks(desk, tasks, sandbox):
    ids = tasks(2, status=6, title="Call the supplier")
    desk.app.python(CREATE_ORPHANS.format(ids=ids))
    desk.sit_down(sandbox.user("acme", name="Ida", is_admin=True))
    frame = desk.open_above_the_list()
    expect(
        frame.get_by_text("2 tasks that the app deferred before it was uninstalled are still deferred.")
    ).to_be_visible()
    button(frame, "Take over").click()
    expect(frame.get_by_text("You have taken over 2 tasks.")).to_be_visible()
    expect(button(frame, "Take over")).to_be_hidden()
    button(frame, "Return them to work").click()
    expect(frame.get_by_role("heading", name="2 returned")).to_be_visible(timeout=30_000)
    expect(frame.get_by_text("You have taken over 2 tasks.")).to_be_hidden()
    assert set(sandbox.states("acme", ids).values()) == {3}
