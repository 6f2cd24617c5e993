"""The list of tasks, and selections made from it."""

import re
from datetime import timedelta

import pytest

from b24app import clock
from b24app.engine import slices
from b24app.models import Person, Selection
from b24app.portals.lease import Lease

pytestmark = pytest.mark.django_db


@pytest.fixture
def at_list(bob):
    bob.open()
    return bob


def titles(answer):
    return re.findall(r'aria-label="Select: ([^"]*)"', answer.text)


def link(answer, id):
    """The target of the button with this id, "" if it has none."""
    found = re.search(rf'<button id="{id}"[^>]*? hx-get="([^"]*)"', answer.text)
    return found.group(1).replace("&amp;", "&") if found else ""


# -- The list


def test_the_list_is_paged_by_fifty(at_list, tasks):
    tasks(120)
    first = at_list.get("/tasks/")
    assert len(titles(first)) == 50
    assert "Tasks, page 1 of 3" in first.text
    assert link(first, "page-previous") == ""
    second = at_list.get(link(first, "page-next"))
    third = at_list.get(link(second, "page-next"))
    assert link(third, "page-next") == ""
    assert len({*titles(first), *titles(second), *titles(third)}) == 120


@pytest.mark.parametrize(
    "shown, expected",
    [("progress", {"Running"}), ("pending", {"Pending", "Unseen"}), ("both", {"Running", "Pending", "Unseen"})],
)
def test_the_switch_chooses_statuses(at_list, tasks, shown, expected):
    for status, title in [(3, "Running"), (2, "Pending"), (1, "Unseen"), (5, "Completed"), (6, "Asleep")]:
        tasks(title=title, status=status)
    assert set(titles(at_list.get("/tasks/", {"shown": shown}))) == expected


def test_a_search_finds_words_in_titles(at_list, tasks):
    for title in ("Call the supplier", "Call Ann", "Paint the wall"):
        tasks(title=title)
    assert set(titles(at_list.get("/tasks/", {"title": "call"}))) == {"Call the supplier", "Call Ann"}


def test_columns_sort_both_ways(at_list, tasks):
    for title, deadline in [("B", 3000), ("A", 9000), ("C", 6000)]:
        tasks(title=title, deadline=deadline)
    page = at_list.get("/tasks/")
    assert 'class="activity" aria-sort="descending"' in page.text
    ascending = at_list.get(link(page, "sort-title"))
    assert titles(ascending) == ["A", "B", "C"]
    assert 'class="title" aria-sort="ascending"' in ascending.text
    assert titles(at_list.get(link(ascending, "sort-title"))) == ["C", "B", "A"]
    assert titles(at_list.get(link(page, "sort-deadline"))) == ["B", "C", "A"]


def test_table_parts_keep_their_roles(at_list, tasks):
    tasks(1)
    table = re.search(r"<table.*</table>", at_list.get("/tasks/").text, re.DOTALL).group()
    parts = re.findall(r'<(table|thead|tbody|tr|th|td)\b(?: role="(\w+)")?', table)
    roles = {"table": {"table"}, "thead": {"rowgroup"}, "tbody": {"rowgroup"}, "tr": {"row"}, "td": {"cell"}}
    assert {tag: {role for other, role in parts if other == tag} for tag, _ in parts} == {
        **roles,
        "th": {"columnheader", "rowheader"},
    }


def test_overdue_is_given_in_words(at_list, tasks):
    tasks(deadline=-3 * 86400 - 60)
    assert "− 3\xa0days" in at_list.get("/tasks/").text


def test_deadlines_use_the_persons_zone(visit, sandbox):
    ann = visit(name="Ann", zone="Asia/Tokyo")
    sandbox.tasks("acme", count=1, creator=ann.user, status=3, deadline="2030-01-01T20:00:00+00:00")
    assert "Jan 2, 2030, 05:00" in ann.open().text


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../UTC"])
def test_an_unknown_zone_does_no_harm(at_list, tasks, zone):
    Person.objects.update(zone=zone)
    tasks(title="Dig", deadline="2030-01-01T20:00:00+00:00")
    assert "Jan 1, 2030, 20:00" in at_list.get("/tasks/").text


def test_a_hostile_title_is_only_text(at_list, tasks):
    tasks(title='"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 }}')
    text = at_list.get("/tasks/").text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_the_filter_keeps_hidden_fields(at_list, bob):
    text = at_list.get("/tasks/", {"sort": "TITLE", "descending": "1"}).text
    assert f'name="owner" value="{bob.user}" form="filter"' in text
    assert 'name="sort" value="TITLE" form="filter"' in text


def test_restored_forms_tick_nothing(at_list, tasks):
    tasks(count=2)
    boxes = re.findall(r'<input[^>]* type="checkbox"[^>]*>', at_list.get("/tasks/").text)
    assert len(boxes) == 3
    assert all('autocomplete="off"' in box for box in boxes)


def test_an_empty_list_names_its_reason(at_list):
    assert "No tasks in progress here" in at_list.get("/tasks/").text
    filtered = at_list.get("/tasks/", {"title": "nothing"}).text
    assert "No tasks match" in filtered
    assert "Clear filter" in filtered


def test_past_the_end_shows_the_last_page(at_list, tasks):
    tasks(60)
    shown = at_list.get("/tasks/", {"page": "4"})
    assert "Tasks, page 2 of 2" in shown.text
    assert len(titles(shown)) == 10
    assert 'data-page="2"' in shown.text


def test_page_two_of_an_empty_list_is_empty(at_list):
    assert "No tasks in progress here" in at_list.get("/tasks/", {"page": "2"}).text


@pytest.mark.parametrize("wrong", [{"page": "0"}, {"page": "x"}, {"sort": "ID"}, {"shown": "all"}, {"owner": "-1"}])
def test_an_invalid_list_is_a_bad_request(at_list, wrong):
    assert at_list.get("/tasks/", wrong).status_code == 400


@pytest.mark.parametrize(
    "fault, words",
    [
        ({"kind": "respond", "status": 503, "body": "busy", "type": "text/html"}, "Bitrix24 is not responding"),
        ({"kind": "error", "code": "QUERY_LIMIT_EXCEEDED", "description": "", "status": 503}, "Bitrix24 is busy"),
        ({"kind": "error", "code": "ACCESS_DENIED", "description": "", "status": 403}, "plan does not include apps"),
        ({"kind": "error", "code": "1048582", "description": "", "status": 400}, "No access"),
        ({"kind": "error", "code": "NO_AUTH_FOUND", "description": "", "status": 401}, "Your session has expired"),
    ],
)
def test_a_failed_list_says_what_failed(at_list, sandbox, fault, words):
    sandbox.fault("tasks.task.list", **fault)
    answer = at_list.get("/tasks/")
    assert answer.status_code == 200
    assert words in answer.text


# -- Selections


def test_the_dialog_forecasts_each_task(at_list, tasks, sandbox):
    ids = tasks(3) + tasks(2, status=2) + tasks(1, status=5) + tasks(2, status=6)
    dialog = at_list.post("/selections/", {"ids": ",".join(map(str, [*ids, 999999]))})
    assert "Defer 9 tasks" in dialog.text
    assert "5 can be deferred · 4 will be skipped" in dialog.text
    assert "Already deferred: 2" in dialog.text
    assert "Completed: 1" in dialog.text
    assert "Deleted, or not visible to you: 1" in dialog.text
    assert re.search(r'type="submit"[^>]*>Defer 5 tasks<', dialog.text)


def test_one_task_is_singular(at_list, tasks):
    dialog = at_list.post("/selections/", {"ids": str(tasks(1)[0])})
    assert "Defer 1 task<" in dialog.text


def test_no_button_if_nothing_can_be_deferred(at_list, tasks):
    dialog = at_list.post("/selections/", {"ids": str(tasks(1, status=6)[0])})
    assert "None of these tasks can be deferred." in dialog.text
    assert 'type="submit"' not in dialog.text


def test_a_worker_collects_all_matches(at_list, bob, tasks, sent_messages, django_capture_on_commit_callbacks):
    tasks(120, title="Call")
    tasks(5, title="Paint")
    with django_capture_on_commit_callbacks(execute=True):
        answer = at_list.post("/selections/", {"everything": "1", "title": "call", "total": "120"})
    assert "Collecting… 0 of 120" in answer.text
    assert sent_messages == [bob.person.portal_id]
    slices.run(bob.person.portal_id)
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    assert "Defer 120 tasks" in at_list.get(poll).text


def test_uncollected_says_no_worker_is_running(at_list, bob, tasks, settings):
    tasks(3)
    answer = at_list.post("/selections/", {"everything": "1", "total": "3"})
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    assert "No worker" not in at_list.get(poll).text
    Selection.objects.update(created_at=clock.now() - timedelta(seconds=settings.ENGINE_SWEEP_EVERY + 1))
    assert "No worker is running" in at_list.get(poll).text
    Lease.acquire(bob.person.portal_id)
    assert "No worker" not in at_list.get(poll).text


def test_unticked_tasks_are_left_out(at_list, bob, tasks):
    ids = tasks(60)
    left_out = ids[:50]
    fields = {"everything": "1", "excluded": ",".join(map(str, left_out)), "total": "60"}
    answer = at_list.post("/selections/", fields)
    slices.run(bob.person.portal_id)
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    assert "Defer 10 tasks" in at_list.get(poll).text
    assert set(Selection.objects.get().tasks.values_list("task_id", flat=True)) == set(ids[50:])


def test_exclusions_have_the_same_limit(at_list):
    def leave_out(count):
        return at_list.post("/selections/", {"everything": "1", "excluded": ",".join(map(str, range(1, count + 1)))})

    assert leave_out(5000).status_code == 200
    assert leave_out(5001).status_code == 400
    assert Selection.objects.count() == 1


@pytest.mark.parametrize("search", ["$result[c0]", "Pay $$total[c0] now", "$result["])
def test_a_search_may_look_like_a_reference(at_list, bob, tasks, search):
    tasks(2, title=f"{search}!")
    tasks(3, title="Paint")
    assert len(titles(at_list.get("/tasks/", {"title": search}))) == 2
    answer = at_list.post("/selections/", {"everything": "1", "title": search, "total": "2"})
    slices.run(bob.person.portal_id)
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    assert "Defer 2 tasks" in at_list.get(poll).text


@pytest.mark.parametrize(
    "fields", [{}, {"ids": ""}, {"ids": "1,x"}, {"ids": "-1"}, {"everything": "1", "excluded": "'"}]
)
def test_a_garbled_selection_is_refused(at_list, fields):
    assert at_list.post("/selections/", fields).status_code == 400
    assert not Selection.objects.exists()


def test_a_silent_portal_keeps_no_selection(at_list, tasks, sandbox):
    (task,) = tasks()
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    dialog = at_list.post("/selections/", {"ids": str(task)})
    assert "Bitrix24 is not responding" in dialog.text
    assert "Try again" in dialog.text
    assert not Selection.objects.exists()


@pytest.mark.parametrize(
    "why, words, press",
    [
        ("ERROR_CORE", "You do not have access to this list", "Cancel"),
        ("PAYMENT_REQUIRED", "not paid for", "Try again"),
        ("invalid_grant", "Open the app again to continue", "Open again"),
        ("needs_reopen", "Open the app again to continue", "Open again"),
        ("internal", "Something went wrong on our side.", "Try again"),
    ],
)
def test_a_failed_selection_says_what_to_do(at_list, why, words, press):
    answer = at_list.post("/selections/", {"everything": "1", "total": "5"})
    Selection.objects.update(state=Selection.State.FAILED, failure_code=why)
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    dialog = at_list.get(poll).text
    assert words in dialog
    assert f">{press}</button>" in dialog
    assert 'class="code">invalid' not in dialog
    assert "needs_reopen" not in dialog


def test_the_portals_error_code_is_shown(at_list, bob, sandbox):
    answer = at_list.post("/selections/", {"everything": "1", "total": "5"})
    sandbox.fault("batch/*", "error", code="ERROR_CORE", description="", status=400)
    slices.run(bob.person.portal_id)
    poll = re.search(r'hx-get="(/selections/[^"]*)"', answer.text).group(1)
    assert "ERROR_CORE" in at_list.get(poll).text


def test_a_foreign_selection_is_not_found(at_list, tasks, visit):
    selection = at_list.select(tasks(1))
    for stranger in (visit(name="Eve"), visit("umbrella", name="Ann")):
        stranger.open()
        assert stranger.get(f"/selections/{selection}/").status_code == 404
        assert stranger.post("/jobs/", {"selection": selection, "key": "k" * 32}).status_code == 404


def test_lost_access_ends_a_selection(at_list, bob, tasks, sandbox):
    tasks(3)
    started = at_list.post("/selections/", {"everything": "1"}).text
    url = re.search(r'hx-get="(/selections/[^"?]+)', started).group(1)
    sandbox.fault("*", "error", portal="acme", code="PAYMENT_REQUIRED")
    slices.run(bob.person.portal_id)
    assert "not paid for" in at_list.get(url).text
