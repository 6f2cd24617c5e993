"""Starting a job, watching it, and closing its result."""

import html
import re
from datetime import timedelta

import pytest
from django.utils import translation

from b24app import clock
from b24app.engine import jobs, slices
from b24app.models import Job, JobItem, Portal, Selection
from b24app.portals.lease import Lease
from b24app.web.texts import too_many_jobs
from tests.web.conftest import Visitor

pytestmark = pytest.mark.django_db

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def at_list(bob):
    bob.open()
    return bob


def work(visitor):
    for _ in range(20):
        slices.run(visitor.person.portal_id)
        if not Job.objects.unfinished().filter(person=visitor.person).exists():
            return
    raise AssertionError("the job does not end")


def test_a_job_takes_exactly_the_selection(at_list, bob, tasks, sent_messages, django_capture_on_commit_callbacks):
    ids = tasks(3)
    with django_capture_on_commit_callbacks(execute=True):
        answer = at_list.start(ids, reason="waiting for parts")
    job = Job.objects.get()
    assert "Deferring 3 tasks" in answer.text
    assert "0 of 3" in answer.text
    assert set(job.items.values_list("task_id", flat=True)) == set(ids)
    assert job.reason == "waiting for parts"
    assert sent_messages == [bob.person.portal_id]


def test_a_job_sent_twice_is_one_job(at_list, tasks):
    selection = at_list.select(tasks(3))
    fields = {"selection": selection, "reason": "", "key": "k" * 32}
    first, second = at_list.post("/jobs/", fields), at_list.post("/jobs/", fields)
    assert first.text == second.text
    assert Job.objects.count() == 1


def test_one_key_is_for_one_job(at_list, tasks):
    at_list.start(tasks(1))
    assert at_list.start(tasks(1)).status_code == 400
    assert Job.objects.count() == 1


@pytest.mark.parametrize("wrong", [{"key": "short"}, {"key": ""}, {"selection": "7"}, {"reason": "x" * 501}])
def test_an_invalid_job_is_a_bad_request(at_list, tasks, wrong):
    fields = {"selection": at_list.select(tasks(1)), "reason": "", "key": "k" * 32}
    assert at_list.post("/jobs/", fields | wrong).status_code == 400
    assert not Job.objects.exists()


def test_an_old_selection_starts_no_job(at_list, tasks):
    selection = at_list.select(tasks(1))
    Selection.objects.update(created_at=clock.now() - timedelta(hours=2))
    answer = at_list.post("/jobs/", {"selection": selection, "key": "k" * 32})
    assert "older than an hour" in answer.text
    assert answer["HX-Retarget"] == "#dialog-body"
    assert not Job.objects.exists()


def test_progress_is_polled_until_the_result(at_list, tasks):
    at_list.start(tasks(3))
    watched = f"/jobs/{Job.objects.get().pk}/"
    under_way = at_list.get(watched)
    assert f'hx-get="{watched}?announced=0"' in under_way.text
    assert "HX-Retarget" not in under_way
    work(at_list)
    result = at_list.get(watched)
    assert result["HX-Retarget"] == "#job"
    assert "3 deferred" in result.text
    assert "data-poll" not in result.text


def test_milestones_are_read_aloud_once(at_list, tasks):
    at_list.start(tasks(4))
    Job.objects.update(done=2)
    watched = f"/jobs/{Job.objects.get().pk}/"
    assert '<p id="live" hx-swap-oob="innerHTML">50 %</p>' in at_list.get(watched).text
    assert "hx-swap-oob" not in at_list.get(f"{watched}?announced=50").text


@pytest.mark.parametrize(
    "why, words",
    [
        (Job.WaitReason.PERSON, "session has expired. Close the app and open it again"),
        (Job.WaitReason.PORTAL, "is not responding. The job will continue"),
        (Job.WaitReason.LIMIT, "rate limit has been reached"),
        (Job.WaitReason.ERROR, "on our side"),
        (Job.WaitReason.DISMISSED, "no longer work here. We check once an hour"),
        (Job.WaitReason.RESTRICTED, "do not have access to the app at the moment. We check once an hour"),
    ],
)
def test_a_waiting_job_names_its_reason(at_list, tasks, why, words):
    at_list.start(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=why)
    assert words in at_list.get(f"/jobs/{Job.objects.get().pk}/").text


@pytest.mark.parametrize(
    "why, words",
    [
        (Job.WaitReason.PLAN, "plan does not include apps. We check once a day"),
        (Job.WaitReason.PAYMENT, "not paid for. We check once a day"),
        (Job.WaitReason.SCOPE, "missing a permission. Ask an administrator to grant it"),
        (Job.WaitReason.CONFIRM, "has to confirm the app in Bitrix24. We check once an hour"),
        (Job.WaitReason.OVERLOAD, "temporarily blocked the app. We check once an hour"),
        (Job.WaitReason.DELETED, "account has been deleted. We check once a day"),
        (Job.WaitReason.ACCESS, "Ask your administrator"),
    ],
)
def test_a_parked_portal_names_its_reason(at_list, tasks, why, words):
    at_list.start(tasks(1))
    Portal.objects.update(parked_until=clock.now() + timedelta(hours=1), parked_reason=why)
    Job.objects.update(created_at=clock.now() - timedelta(hours=1))
    text = html.unescape(at_list.get(f"/jobs/{Job.objects.get().pk}/").text)
    assert words in text
    assert "No worker" not in text


def test_it_says_that_no_worker_runs(at_list, tasks, settings):
    at_list.start(tasks(1))
    watched = f"/jobs/{Job.objects.get().pk}/"
    assert "No worker" not in at_list.get(watched).text
    Job.objects.update(created_at=clock.now() - timedelta(seconds=settings.ENGINE_SWEEP_EVERY + 1))
    assert "No worker is running" in at_list.get(watched).text
    Lease.acquire(at_list.person.portal_id)
    assert "No worker" not in at_list.get(watched).text


def test_an_overdue_wait_says_no_worker_runs(at_list, tasks, settings):
    at_list.start(tasks(1))
    watched = f"/jobs/{Job.objects.get().pk}/"
    overdue = clock.now() - timedelta(seconds=settings.ENGINE_SWEEP_EVERY + 1)
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PORTAL, wait_until=clock.now())
    assert "not responding" in at_list.get(watched).text
    Job.objects.update(wait_until=overdue)
    assert "No worker is running" in at_list.get(watched).text
    Portal.objects.update(last_slice_at=clock.now())
    assert "not responding" in at_list.get(watched).text


def test_waiting_for_a_person_needs_no_worker(at_list, tasks):
    at_list.start(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON, wait_until=None, created_at=LONG_AGO)
    assert "No worker" not in at_list.get(f"/jobs/{Job.objects.get().pk}/").text


def test_an_overdue_parked_portal_says_so(at_list, tasks):
    at_list.start(tasks(1))
    Job.objects.update(created_at=LONG_AGO)
    Portal.objects.update(parked_until=LONG_AGO, parked_reason=Job.WaitReason.PLAN)
    assert "No worker is running" in at_list.get(f"/jobs/{Job.objects.get().pk}/").text


def test_a_waiting_job_counts_paused_tasks(at_list, tasks):
    at_list.start(tasks(4))
    watched = f"/jobs/{Job.objects.get().pk}/"
    first, second, third, _ = JobItem.objects.order_by("pk")
    JobItem.objects.filter(pk__in=[first.pk, second.pk]).update(step=JobItem.Step.PAUSED)
    JobItem.objects.filter(pk=third.pk).update(step=JobItem.Step.PAUSED, state=JobItem.State.FAILED)
    assert "paused and will" not in at_list.get(watched).text
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.LIMIT)
    assert "2 tasks are paused and will be deferred or started again." in at_list.get(watched).text
    assert "2 задачи приостановлены" in at_list.open(language="ru").text
    JobItem.objects.filter(pk=first.pk).update(step=JobItem.Step.NONE)
    at_list.open()
    assert "1 task is paused and will be deferred or started again." in at_list.get(watched).text


def test_polling_keeps_the_focus(at_list, tasks):
    at_list.start(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON)
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert re.findall(r'<(?:button|a) id="(\w+)"', text) == ["stop", "reopen", "reconnect"]
    assert len(re.findall(r"<(?:button|a) ", text)) == 3


def test_a_result_is_grouped_by_reason(at_list, bob, tasks, sandbox):
    eve = sandbox.user("acme", name="Eve")
    kept = sandbox.tasks("acme", count=1, creator=eve, status=3, auditors=[bob.user], title="Hers")
    at_list.start(tasks(2) + tasks(3, status=6) + tasks(1, status=5) + kept)
    work(at_list)
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert "2 deferred · 1 failed · 4 skipped" in text
    assert "You do not have permission to defer these tasks (1)" in text
    assert "Already deferred (3)" in text
    assert "Completed (1)" in text
    assert text.index("You do not have permission") < text.index("Already deferred")
    path = f"/company/personal/user/{bob.user}/tasks/task/view/{kept[0]}/"
    assert f'href="http://{sandbox.portals["acme"]}{path}" data-path="{path}"' in text
    assert ">Hers</a>" in text


def test_a_result_names_who_and_whom_to_ask(at_list, bob, tasks, sandbox):
    eve = sandbox.user("acme", name="Eve", last_name="Stone")
    (changed,) = tasks(1, accomplices=[eve])
    hers = sandbox.tasks("acme", count=1, status=3, creator=eve, auditors=[bob.user])
    at_list.start([changed, *hers])
    sandbox.change_task("acme", changed, status=5)
    work(at_list)
    JobItem.objects.filter(task_id=changed).update(changed_at="2020-01-02T20:00:00Z")
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert "Bob Worker, Jan 2, 2020, 20:00" in text
    assert "ask Eve Stone" in text


def test_a_long_wait_names_its_end(at_list, tasks):
    at_list.start(tasks(1))
    until = clock.now() + timedelta(minutes=5)
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.LIMIT, wait_until=until)
    assert f"The job continues at {until:%H:%M}." in progress(at_list)
    Job.objects.update(wait_until=clock.now() + timedelta(seconds=20))
    assert "The job will continue automatically." in progress(at_list)


def progress(at_list):
    return at_list.get(f"/jobs/{Job.objects.get().pk}/").text


def test_only_a_deferring_job_can_be_undone(at_list, bob, tasks, sandbox):
    ids = tasks(3)
    at_list.start(ids)
    work(at_list)
    job = Job.objects.get()
    assert ">Undo</button>" in progress(at_list)
    panel = at_list.post(f"/jobs/{job.pk}/undo/").text
    assert "Returning 3 tasks" in panel
    back = Job.objects.latest("pk")
    assert at_list.post(f"/jobs/{job.pk}/undo/").text.count("Returning 3 tasks") == 1
    work(at_list)
    text = at_list.get(f"/jobs/{back.pk}/").text
    assert "3 returned" in text
    assert "Undo" not in text
    assert set(sandbox.states("acme", ids).values()) == {3}
    assert Job.objects.count() == 2


def test_returned_but_not_started_is_named(at_list, tasks, sandbox):
    at_list.start(tasks(2))
    work(at_list)
    sandbox.fault("tasks.task.start", "error", code="1048582", status=400, times=-1)
    at_list.post(f"/jobs/{Job.objects.get().pk}/undo/")
    work(at_list)
    text = at_list.get(f"/jobs/{Job.objects.latest('pk').pk}/").text
    assert "2 returned" in text
    assert "Returned, but could not be started (2)" in text
    assert "Start them in Bitrix24" in text


def latest(at_list, panel):
    """The answer to a page with this panel when the person comes back to it."""
    (address,) = re.findall(r'hx-get="(/jobs/latest/[^"]*)"', panel)
    return at_list.get(html.unescape(address))


def test_another_tabs_job_appears(at_list, tasks):
    idle = at_list.open().text
    assert latest(at_list, idle).status_code == 204
    at_list.start(tasks(2))
    running = latest(at_list, idle).text
    assert "Deferring 2 tasks" in running
    assert latest(at_list, running).status_code == 204
    work(at_list)
    finished = latest(at_list, running).text
    assert "2 deferred" in finished
    assert latest(at_list, finished).status_code == 204
    at_list.post(f"/jobs/{Job.objects.get().pk}/dismiss/")
    assert "hidden" in latest(at_list, finished).text


def test_only_the_owner_undoes_a_job(at_list, tasks, sandbox, at_sandbox):
    at_list.start(tasks(1))
    work(at_list)
    other = Visitor(at_sandbox, "acme", sandbox.user("acme", name="Eve"))
    other.open()
    assert other.post(f"/jobs/{Job.objects.get().pk}/undo/").status_code == 404
    assert Job.objects.count() == 1


def test_left_paused_comes_first(at_list, tasks):
    at_list.start(tasks(2))
    first, second = JobItem.objects.order_by("pk")
    JobItem.objects.filter(pk=first.pk).update(state="failed", code=JobItem.Code.NOT_PERMITTED)
    JobItem.objects.filter(pk=second.pk).update(state="failed", code=JobItem.Code.LEFT_PAUSED)
    Job.objects.update(state=Job.State.FINISHED, failed=2)
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert text.index("Left paused") < text.index("You do not have permission")
    assert "start it again" in text


def test_a_result_lists_a_hundred_tasks(at_list, tasks):
    at_list.start(tasks(120))
    JobItem.objects.update(state=JobItem.State.FAILED, code=JobItem.Code.REFUSED)
    Job.objects.update(state=Job.State.FINISHED, failed=120)
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert text.count("data-path=") == 100
    assert "and 20 more" in text


@pytest.mark.parametrize("code", JobItem.Code.values)
def test_every_reason_has_words(at_list, tasks, code):
    at_list.start(tasks(1))
    JobItem.objects.update(state=JobItem.State.FAILED, code=code)
    Job.objects.update(state=Job.State.FINISHED, failed=1)
    heading = re.search(r"</span>\s+(.*) \(1\)\s+</summary>", progress(at_list)).group(1)
    assert heading
    assert heading != code


def test_a_reopened_page_shows_the_job(at_list, tasks):
    at_list.start(tasks(2))
    assert "Deferring 2 tasks" in at_list.open().text
    work(at_list)
    assert "2 deferred" in at_list.open().text


def test_a_closed_result_stays_closed(at_list, tasks):
    at_list.start(tasks(2))
    work(at_list)
    closed = at_list.post(f"/jobs/{Job.objects.get().pk}/dismiss/")
    assert '<section id="job"' in closed.text
    assert "hidden" in closed.text
    assert "2 deferred" not in at_list.open().text


def test_a_foreign_job_is_not_found(at_list, tasks, visit):
    at_list.start(tasks(1))
    job = Job.objects.get()
    for stranger in (visit(name="Eve"), visit("umbrella", name="Ann")):
        stranger.open()
        assert stranger.get(f"/jobs/{job.pk}/").status_code == 404
        assert stranger.post(f"/jobs/{job.pk}/dismiss/").status_code == 404
    job.refresh_from_db()
    assert job.dismissed_at is None


def test_a_hostile_reason_is_only_text(at_list, tasks):
    at_list.start(tasks(1), reason="<script>alert(1)</script>")
    work(at_list)
    text = at_list.get(f"/jobs/{Job.objects.get().pk}/").text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


# -- Steering


def test_a_stopped_job_can_be_continued(at_list, tasks, sandbox):
    at_list.start(tasks(3))
    job = Job.objects.get()
    answer = at_list.post(f"/jobs/{job.pk}/stop/")
    assert "0 deferred · 3 not started" in answer.text
    assert "Continue" in answer.text
    following = at_list.post(f"/jobs/{job.pk}/retry/cancelled/")
    assert "Deferring 3 tasks" in following.text
    assert at_list.post(f"/jobs/{job.pk}/retry/cancelled/").text == following.text
    assert Job.objects.count() == 2
    rest = Job.objects.latest("pk")
    slices.run(at_list.person.portal_id)
    rest.refresh_from_db()
    assert rest.done == 3


def test_undo_covers_the_original_job(at_list, tasks, sandbox):
    sandbox.fault("tasks.task.pause", "error", code="1048582", status=400, times=1)
    at_list.start(tasks(3))
    work(at_list)
    job = Job.objects.get()
    at_list.post(f"/jobs/{job.pk}/retry/failed/")
    work(at_list)
    rest = Job.objects.latest("pk")
    assert ">Undo all</button>" in at_list.get(f"/jobs/{rest.pk}/").text
    assert "Returning 3 tasks" in at_list.post(f"/jobs/{rest.pk}/undo/").text


def test_only_a_new_job_clears_the_ticks(at_list, tasks):
    """A start clears the ticked tasks. A person who stops or continues a job may have ticked other tasks."""
    assert at_list.start(tasks(2))["HX-Trigger-After-Swap"] == "job-started"
    job = Job.objects.get()
    lease = Lease.acquire(job.portal_id)
    assert at_list.post(f"/jobs/{job.pk}/stop/")["HX-Trigger-After-Swap"] == "job-steered"
    lease.release()
    assert at_list.post(f"/jobs/{job.pk}/stop/")["HX-Trigger-After-Swap"] == "job-finished"
    assert at_list.post(f"/jobs/{job.pk}/retry/cancelled/")["HX-Trigger-After-Swap"] == "job-steered"


def test_failed_tasks_can_be_retried(at_list, tasks, sandbox):
    sandbox.fault("tasks.task.pause", "error", code="1048582", status=400, times=1)
    at_list.start(tasks(2))
    work(at_list)
    job = Job.objects.get()
    result = at_list.get(f"/jobs/{job.pk}/").text
    assert "1 deferred · 1 failed" in result
    assert "Retry failed" in result
    assert "Continue" not in result
    assert "Deferring 1 task" in at_list.post(f"/jobs/{job.pk}/retry/failed/").text


def test_a_fifth_job_is_not_started(at_list, tasks):
    for number in range(4):
        at_list.start(tasks(1), key=f"key-{number}" * 4)
    answer = at_list.start(tasks(1), key="key-5" * 4)
    assert "Too many jobs at once" in answer.text
    assert answer.headers["HX-Retarget"] == "#dialog-body"
    assert Job.objects.count() == 4


def test_a_retry_counts_as_a_fifth_job(at_list, tasks):
    at_list.start(tasks(1), key="first" * 4)
    job = Job.objects.get()
    at_list.post(f"/jobs/{job.pk}/stop/")
    for number in range(4):
        at_list.start(tasks(1), key=f"key-{number}" * 4)
    assert "You already have 4 unfinished jobs." in at_list.post(f"/jobs/{job.pk}/retry/cancelled/").text


@pytest.mark.parametrize(
    "limit, english, russian",
    [
        (1, "1 unfinished job. Stop it", "1 незавершённое задание"),
        (4, "4 unfinished jobs. Stop one", "4 незавершённых задания"),
        (5, "5 unfinished jobs. Stop one", "5 незавершённых заданий"),
    ],
)
def test_the_screen_names_the_job_limit(monkeypatch, limit, english, russian):
    monkeypatch.setattr(jobs, "MAX_UNFINISHED", limit)
    assert english in too_many_jobs().sentence
    with translation.override("ru"):
        assert russian in too_many_jobs().sentence


def test_nothing_left_to_retry_says_so(at_list, tasks):
    at_list.start(tasks(1))
    work(at_list)
    answer = at_list.post(f"/jobs/{Job.objects.get().pk}/retry/failed/").text
    assert "This job has no tasks left to process." in answer
    assert "unfinished jobs" not in answer


@pytest.mark.parametrize("act", ["stop/", "again/failed/", "again/cancelled/"])
def test_only_the_owner_steers_a_job(at_list, tasks, visit, act):
    at_list.start(tasks(1))
    stranger = visit(name="Eve")
    stranger.open()
    assert stranger.post(f"/jobs/{Job.objects.get().pk}/{act}").status_code == 404
    assert Job.objects.get().stop_asked_at is None
