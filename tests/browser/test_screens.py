"""The screens in Chromium: a cross-site frame, third-party cookies blocked, a console without errors."""

import re

import pytest
from playwright.sync_api import expect

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def button(frame, name, **kwargs):
    return frame.get_by_role("button", name=name, **kwargs)


def tick(frame, title):
    return frame.get_by_role("checkbox", name=f"Select: {title}", exact=True)


def test_from_installing_to_the_result(desk, tasks, sandbox, page):
    ids = tasks(130)
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    expect(frame.get_by_text("50 selected", exact=True)).to_be_visible()
    button(frame, "Next").click()
    expect(button(frame, "Page 2")).to_have_attribute("aria-current", "page")
    frame.get_by_label("Select all on this page").check()
    button(frame, "Page 3").click()
    expect(button(frame, "Page 3")).to_have_attribute("aria-current", "page")
    for box in frame.get_by_role("checkbox", name="Select: ").all()[:20]:
        box.check()
    expect(frame.get_by_text("120 selected", exact=True)).to_be_visible()
    button(frame, "Page 1").click()
    expect(frame.get_by_label("Select all on this page")).to_be_checked()

    button(frame, "Defer…").click()
    dialog = frame.get_by_role("dialog", name="Defer 120 tasks")
    expect(dialog.get_by_role("radio", name="Until further notice")).to_be_checked()
    dialog.get_by_label("Reason").fill("waiting for parts")
    button(dialog, "Defer 120 tasks").click()
    expect(frame.get_by_role("progressbar")).to_be_visible()
    expect(frame.get_by_text(re.compile(r"^\d+ of 120$"))).to_be_visible()

    frame = desk.open_above_the_list()
    expect(frame.get_by_role("heading", name="120 deferred")).to_be_visible(timeout=30_000)
    expect(frame.get_by_role("checkbox", name="Select: ")).to_have_count(10)
    truth = sandbox.truth("acme")
    assert sorted(change["after"] for change in truth) == [2] * 120 + [6] * 120
    assert {change["person"] for change in truth} == {desk.number}
    assert {change["task"] for change in truth} < set(ids)
    button(frame, "Back to list").click()
    expect(frame.get_by_role("heading", name="120 deferred")).to_be_hidden()
    assert [cookie["name"] for cookie in page.context.cookies()] == ["desk_acme"]


def test_all_matches_without_the_unticked(desk, tasks, sandbox):
    tasks(60)
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Select all 60 that match").click()
    expect(frame.get_by_text("60 selected", exact=True)).to_be_visible()
    expect(frame.get_by_text("All 60 that match are selected.")).to_be_visible()
    for box in frame.get_by_role("checkbox", name="Select: ").all()[:2]:
        box.uncheck()
    expect(frame.get_by_text("58 selected", exact=True)).to_be_visible()
    button(frame, "Defer…").click()
    button(frame, "Defer 58 tasks").click()
    expect(frame.get_by_role("heading", name="58 deferred")).to_be_visible(timeout=30_000)
    assert sorted(sandbox.states("acme").values()) == [3] * 2 + [6] * 58


def test_a_search_keeps_ticks(desk, tasks):
    tasks(55, title="Call")
    tasks(1, title="Paint the wall")
    frame = desk.open_above_the_list()
    search = frame.get_by_label("Search in titles")
    search.fill("paint")
    tick(frame, "Paint the wall").check()
    search.fill("call")
    expect(tick(frame, "Paint the wall")).to_be_hidden()
    expect(frame.get_by_text("1 selected", exact=True)).to_be_visible()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Select all 55 that match").click()
    search.fill("")
    expect(tick(frame, "Paint the wall")).to_be_visible()
    expect(frame.get_by_role("region", name="Bulk actions")).to_be_hidden()


def test_it_works_by_keyboard_alone(desk, tasks, page):
    tasks(4)
    frame = desk.open_above_the_list()
    boxes = frame.get_by_role("checkbox", name="Select: ")
    boxes.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    expect(frame.get_by_text("3 selected", exact=True)).to_be_visible()
    page.keyboard.press("d")
    expect(frame.get_by_role("radio", name="Until further notice")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("later")
    page.keyboard.press("Tab")
    expect(button(frame, "Defer 3 tasks")).to_be_focused()
    page.keyboard.press("Enter")
    expect(frame.get_by_role("heading", name="3 deferred")).to_be_focused(timeout=30_000)
    page.keyboard.press("Tab")
    expect(button(frame, "Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(frame.get_by_role("heading", name="3 returned")).to_be_focused(timeout=30_000)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(frame.get_by_role("heading", name="Defer tasks")).to_be_focused()


def test_two_tabs_show_the_same_job(desk, tasks, page):
    tasks(5, title="Call")
    other = desk.open_above_the_list()
    other.get_by_role("checkbox", name="Select: Call").first.wait_for()
    elsewhere = desk.own()
    desk.page = page.context.new_page()
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Defer…").click()
    button(frame, "Defer 5 tasks").click()
    expect(frame.get_by_role("heading", name="5 deferred")).to_be_visible(timeout=30_000)
    elsewhere.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(other.get_by_role("heading", name="5 deferred")).to_be_visible()
    expect(other.get_by_role("checkbox", name="Select: Call")).to_have_count(0)
    button(other, "Back to list").click()
    expect(other.get_by_role("heading", name="5 deferred")).to_be_hidden()
    desk.own().evaluate("window.dispatchEvent(new Event('focus'))")
    expect(frame.get_by_role("heading", name="5 deferred")).to_be_hidden()


def test_undo_returns_the_tasks(desk, tasks, sandbox):
    tasks(30, title="Call")
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Defer…").click()
    button(frame, "Defer 30 tasks").click()
    expect(frame.get_by_role("heading", name="30 deferred")).to_be_visible(timeout=30_000)
    expect(frame.get_by_role("checkbox", name="Select: Call")).to_have_count(0)
    button(frame, "Undo").click()
    expect(frame.get_by_role("heading", name="30 returned")).to_be_visible(timeout=30_000)
    expect(frame.get_by_role("checkbox", name="Select: Call")).to_have_count(30)
    expect(button(frame, "Undo")).to_be_hidden()
    assert set(sandbox.states("acme").values()) == {3}


def test_an_expired_ticket_is_renewed(desk, tasks, app, console):
    tasks(3, title="Call")
    frame = desk.open_above_the_list()
    expect(frame.get_by_role("checkbox", name="Select: Call")).to_have_count(3)
    app.python("from b24app.models import Portal; Portal.objects.update(epoch=7)")
    console.expected.append("401")
    frame.get_by_label("Search in titles").fill("nothing")
    expect(frame.get_by_text("No tasks match")).to_be_visible()
    frame.get_by_label("Search in titles").fill("call")
    expect(frame.get_by_role("checkbox", name="Select: Call")).to_have_count(3)


def test_the_page_waits_for_a_connection(desk, tasks, sandbox, page, console):
    tasks(20)
    console.expected += ["ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest"]
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Defer…").click()
    expect(button(frame, "Defer 20 tasks")).to_be_enabled()
    sandbox.fault("batch", "late", seconds=4, times=1)
    button(frame, "Defer 20 tasks").click()
    expect(frame.get_by_role("progressbar")).to_be_visible()
    page.context.set_offline(True)
    expect(frame.get_by_text("No connection. We will try again automatically.")).to_be_visible()
    page.context.set_offline(False)
    expect(frame.get_by_role("heading", name="20 deferred")).to_be_visible(timeout=30_000)
    expect(frame.get_by_text("No connection. We will try again automatically.")).to_be_hidden()


def test_the_page_waits_for_a_slow_portal(desk, tasks, sandbox):
    tasks(3)
    sandbox.fault("batch", "late", seconds=4, times=-1)
    frame = desk.open_above_the_list()
    expect(frame.get_by_text("Waiting for Bitrix24…")).to_be_attached(timeout=15_000)
    expect(frame.get_by_role("checkbox", name="Select: ")).to_have_count(3, timeout=15_000)
    sandbox.clear_faults()
    button(frame, "Refresh").click()
    expect(frame.get_by_role("checkbox", name="Select: ")).to_have_count(3)


def test_a_task_opens_in_the_slider(desk, tasks, page, sandbox):
    (task,) = tasks(1, title="Call")
    frame = desk.open_above_the_list()
    frame.get_by_role("link", name="Call").click()
    card = desk.until(lambda: [frame for frame in page.frames if f"/tasks/task/view/{task}/" in frame.url])[-1]
    expect(card.get_by_role("heading", name="Call")).to_be_visible()
    sandbox.change_task("acme", task, status=5)
    page.get_by_role("button", name="Close").last.click()
    expect(frame.get_by_text("No tasks in progress here")).to_be_visible()


def test_early_ticks_count(desk, tasks, page):
    tasks(3, title="Call")
    late = []
    page.route("**/static/app.js", lambda route: late.append(route))
    frame = desk.open_above_the_list()
    frame.get_by_role("checkbox", name="Select: ").first.check()
    desk.until(lambda: late)[0].continue_()
    expect(frame.get_by_text("1 selected", exact=True)).to_be_visible()
    expect(frame.get_by_role("checkbox", name="Select: ").first).to_be_checked()


@pytest.mark.parametrize("language, defer", [("en", "Defer…"), ("ru", "Отложить…")])
def test_nothing_sticks_out_sideways(desk, tasks, page, language, defer):
    tasks(60, title="A very long title of a task that does not fit on the screen of a person, " * 2)
    desk.speak(language)
    for size in (WIDE, {"width": 960, "height": 700}, NARROW):
        page.set_viewport_size(size)
        frame = desk.open_above_the_list()
        frame.locator("#pick-page").check()
        assert desk.own().evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert desk.own().evaluate("document.documentElement.scrollHeight <= innerHeight")
        button(frame, defer).click()
        frame.locator("dialog [type=submit]").wait_for()
        for element in (".shell", ".scroll", "dialog"):
            sideways = f"(e => e.scrollWidth - e.clientWidth)(document.querySelector('{element}'))"
            assert desk.own().evaluate(sideways) <= 0


def test_a_failed_dialog_offers_another_try(desk, tasks, page, console):
    tasks(2)
    console.expected += ["500", "htmx:responseError"]
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    page.route("**/selections/", lambda route: route.fulfill(status=500, body=""), times=1)
    button(frame, "Defer…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_text("Something went wrong on our side.")).to_be_visible()
    button(dialog, "Try again").click()
    expect(button(dialog, "Defer 2 tasks")).to_be_visible()
    expect(dialog.get_by_text("Something went wrong on our side.")).to_be_hidden()
    page.route("**/jobs/", lambda route: route.fulfill(status=500, body=""), times=1)
    button(dialog, "Defer 2 tasks").click()
    button(dialog, "Try again").click()
    expect(frame.get_by_role("heading", name="2 deferred")).to_be_visible(timeout=30_000)
    expect(frame.get_by_text("Something went wrong on our side.")).to_be_hidden()


def test_polling_keeps_the_focus(desk, tasks, app, page):
    tasks(60)
    frame = desk.open_above_the_list()
    app.stop("worker")
    frame.get_by_label("Select all on this page").check()
    button(frame, "Select all 60 that match").click()
    button(frame, "Defer…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_text("Collecting…")).to_be_visible()
    button(dialog, "Cancel").focus()
    with page.expect_response(lambda answer: "/selections/" in answer.url):
        pass
    with page.expect_response(lambda answer: "/selections/" in answer.url):
        pass
    expect(button(dialog, "Cancel")).to_be_focused()
    button(dialog, "Cancel").click()
    frame.get_by_label("Select all on this page").check()
    button(frame, "Clear").click()
    frame.get_by_role("checkbox", name="Select: ").first.check()
    button(frame, "Defer…").click()
    button(frame, "Defer 1 task").click()
    frame.get_by_role("checkbox", name="Select: ").last.check()
    button(frame, "Stop").focus()
    with page.expect_response(lambda answer: "/jobs/" in answer.url):
        pass
    expect(button(frame, "Stop")).to_be_focused()
    button(frame, "Stop").click()
    expect(frame.get_by_role("heading", name="0 deferred · 1 not started")).to_be_visible()
    expect(frame.get_by_text("1 selected", exact=True)).to_be_visible()


def test_an_offline_dialog_continues_by_itself(desk, tasks, page, console):
    tasks(2)
    console.expected += ["ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest"]
    frame = desk.open_above_the_list()
    frame.get_by_label("Select all on this page").check()
    page.context.set_offline(True)
    button(frame, "Defer…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_text("No connection. We will try again automatically.")).to_be_visible()
    page.context.set_offline(False)
    expect(button(dialog, "Defer 2 tasks")).to_be_visible()
    expect(dialog.get_by_text("No connection. We will try again automatically.")).to_be_hidden()
