"""Returning what a job has deferred: one task's way back, and the engine against the sandbox."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24app.bitrix.client import Answer
from b24app.bitrix.errors import AccessLost, OperatingLimit, Refused, Unknown
from b24app.bitrix.tasks import Act, TaskState
from b24app.engine import batches, jobs, returning, slices
from b24app.models import Deferral, Job, JobItem
from tests.engine.work import outcomes, work

ME, SOMEBODY = 5, 7
S, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
ASLEEP_SINCE = datetime(2026, 11, 23, tzinfo=UTC)

OK, NO, LOST = "ok", Refused("1048582"), Unknown("no_answer_for_key")
LIMIT = OperatingLimit("OPERATION_TIME_LIMIT")
NOT_ALLOWED = {"refusal": "1048582", "vendor_code": "1048582"}


# -- One task, decided without a portal ------------------------------------------------------------------------


def task(status, by=ME, at=ASLEEP_SINCE):
    return TaskState(31, "Call", status, frozenset({ME}), by, at, creator="Ann", changed_by="Eve")


def full(status, by=ME):
    raw = {"id": "31", "title": "Call", "status": str(status), "statusChangedBy": str(by), "createdBy": "5"}
    return Answer({"task": raw})


def sent(before=3, step=Step.NONE, sends=1, state=S.SENT, **fields):
    deferral = Deferral(task_id=31, previous_status=before, status_changed_at=ASLEEP_SINCE, created_at=ASLEEP_SINCE)
    seen = 2 if step == Step.RENEWED else 6
    return JobItem(
        task_id=31,
        state=state,
        status_seen=seen,
        status_before=before,
        step=step,
        sends=sends,
        returns=deferral,
        **fields,
    )


@pytest.mark.parametrize(
    "before, step, acts",
    [
        (3, Step.NONE, [Act.RENEW, Act.START]),
        (2, Step.NONE, [Act.RENEW]),
        (1, Step.NONE, [Act.RENEW]),
        (3, Step.RENEWED, [Act.START]),
    ],
)
def test_the_commands_follow_the_original_status(before, step, acts):
    assert returning.acts_for(sent(before, step)) == acts


@pytest.mark.parametrize(
    "renew, start, state, step, to_be_read",
    [
        (OK, OK, S.DONE, Step.RENEWED, False),
        (OK, NO, S.SENT, Step.RENEWED, True),
        (OK, LOST, S.SENT, Step.RENEWED, False),
        (OK, LIMIT, S.PENDING, Step.RENEWED, False),
        (NO, NO, S.SENT, Step.NONE, True),
        (NO, LIMIT, S.SENT, Step.NONE, True),
        (LIMIT, NO, S.PENDING, Step.NONE, False),
        (LOST, NO, S.SENT, Step.NONE, False),
        (LOST, OK, S.DONE, Step.NONE, False),
        (full(2, by=SOMEBODY), NO, S.SENT, Step.NONE, True),
        (AccessLost("insufficient_scope"), AccessLost("insufficient_scope"), S.PENDING, Step.NONE, False),
    ],
)
def test_each_pair_of_answers_has_one_outcome(renew, start, state, step, to_be_read):
    item = sent()
    replies = {Act.RENEW: full(2) if renew is OK else renew, Act.START: full(3) if start is OK else start}
    returning.apply_answer(item, replies, ME)
    assert (item.state, item.step, bool(item.refusal)) == (state, step, to_be_read)


def test_a_refused_renew_gives_the_reason():
    item = sent()
    returning.apply_answer(item, {Act.RENEW: Refused("1048584"), Act.START: Refused("0")}, ME)
    returning.apply_reading(item, task(6), ME)
    assert (item.state, item.code, item.vendor_code) == (S.FAILED, Code.REFUSED, "1048584")


def test_a_pending_task_needs_only_renew():
    item = sent(before=2)
    returning.apply_answer(item, {Act.RENEW: full(2)}, ME)
    assert item.state == S.DONE


def test_anothers_renew_is_not_ours():
    item = sent(before=2)
    returning.apply_answer(item, {Act.RENEW: full(2, by=SOMEBODY)}, ME)
    assert item.state == S.SENT
    returning.apply_reading(item, task(2, by=SOMEBODY), ME)
    assert (item.state, item.code, item.changed_by) == (S.SKIPPED, Code.AWAKE, "Eve")


LATER = ASLEEP_SINCE + timedelta(minutes=1)


@pytest.mark.parametrize(
    "item, found, state, code",
    [
        # before anything is sent
        (sent(state=S.PENDING), task(6), S.PENDING, ""),
        (sent(state=S.PENDING), task(6, at=LATER), S.SKIPPED, Code.DEFERRED_ANEW),
        (sent(state=S.PENDING), task(3), S.SKIPPED, Code.AWAKE),
        (sent(state=S.PENDING), task(2), S.SKIPPED, Code.AWAKE),
        (sent(state=S.PENDING), task(5), S.SKIPPED, Code.COMPLETED),
        (sent(state=S.PENDING), None, S.SKIPPED, Code.GONE),
        # lost answers
        (sent(), task(6), S.PENDING, ""),
        (sent(), task(3), S.DONE, ""),
        (sent(), task(3, by=SOMEBODY), S.SKIPPED, Code.AWAKE),
        (sent(), task(2), S.PENDING, ""),
        (sent(before=2), task(2), S.DONE, ""),
        (sent(), task(5), S.SKIPPED, Code.COMPLETED),
        (sent(sends=4), task(6), S.FAILED, Code.REFUSED),
        # refusals
        (sent(**NOT_ALLOWED), task(6), S.FAILED, Code.NOT_PERMITTED),
        (sent(refusal="1048584", vendor_code="1048584"), task(6), S.FAILED, Code.REFUSED),
        (sent(**NOT_ALLOWED), task(3, by=SOMEBODY), S.SKIPPED, Code.AWAKE),
        # renewed, and not started: a second, fresh request decides
        (sent(step=Step.RENEWED, **NOT_ALLOWED), task(2), S.PENDING, ""),
        (sent(step=Step.RENEWED, sends=2, **NOT_ALLOWED), task(2), S.DONE, Code.NOT_STARTED),
        (sent(step=Step.RENEWED, sends=4), task(2), S.DONE, Code.NOT_STARTED),
        (sent(step=Step.RENEWED, **NOT_ALLOWED), task(3, by=SOMEBODY), S.DONE, ""),
        (sent(step=Step.RENEWED, state=S.PENDING), task(6, by=SOMEBODY, at=LATER), S.SKIPPED, Code.DEFERRED_ANEW),
    ],
)
def test_each_reading_has_one_outcome(item, found, state, code):
    returning.apply_reading(item, found, ME)
    assert (item.state, item.code) == (state, code)


@pytest.mark.parametrize(
    "later, state, code",
    [(timedelta(seconds=5), S.PENDING, ""), (timedelta(hours=1), S.SKIPPED, Code.DEFERRED_ANEW)],
)
def test_a_much_later_deferral_is_not_ours(later, state, code):
    item = sent(state=S.PENDING)
    item.returns.status_changed_at = None  # the answer was lost, and the app removed
    returning.apply_reading(item, task(6, at=ASLEEP_SINCE + later), ME)
    assert (item.state, item.code) == (state, code)


def test_a_refusal_names_who_may_return_it():
    item = sent(**NOT_ALLOWED)
    returning.apply_reading(item, task(6), ME)
    assert item.changed_by == "Ann"


replies = st.sampled_from([OK, "noop", "null", NO, LOST, LIMIT])
worlds = st.sampled_from([None, 1, 2, 3, 4, 5, 6, 7])


@given(st.lists(st.tuples(replies, replies, worlds, st.booleans()), min_size=40, max_size=40), st.sampled_from([2, 3]))
def test_only_a_deferred_task_is_ever_renewed(story, before):
    item = sent(before, sends=0, state=S.PENDING)
    item.status_seen = None
    for first, last, status, mine in story:
        found = None if status is None else task(status, ME if mine else SOMEBODY)
        if item.state == S.PENDING and item.status_seen:
            acts = returning.acts_for(item)
            assert Act.RENEW not in acts or item.status_seen == 6
            item.state, item.sends = S.SENT, item.sends + 1
            words = dict(zip(acts, [first, last], strict=False))
            returning.apply_answer(item, {act: _reply(word, act) for act, word in words.items()}, ME)
            item.status_seen = None if item.state == S.PENDING and item.step == Step.NONE else item.status_seen
        elif item.state in (S.PENDING, S.SENT):
            returning.apply_reading(item, found, ME)
    limited = all(LIMIT in (first, last) for first, last, _, _ in story)
    assert item.state in JobItem.ENDED or limited or item.sends <= 4


def _reply(word, act):
    status = {Act.RENEW: 2, Act.START: 3}[act]
    if word is OK:
        return full(status)
    if word == "null":
        return Answer(None)
    return full(status, by=SOMEBODY) if word == "noop" else word


# -- The engine ------------------------------------------------------------------------------------------------


@pytest.fixture
def put_to_sleep(person, tasks, job_for):
    """Tasks that sleep because of a finished job: `put_to_sleep(3, status=2)` is the job."""

    def sleep(count, **fields):
        job = job_for(tasks(count, **fields))
        work(person)
        job.refresh_from_db()
        assert job.done == count
        return job

    return sleep


def ids_of(job):
    return sorted(job.items.values_list("task_id", flat=True))


def undo(job, key="undo"):
    return jobs.undo(job, key)


def states_of_deferrals():
    return set(Deferral.objects.values_list("state", flat=True))


def test_60_tasks_return_with_two_commands_each(sandbox, person, put_to_sleep):
    job = put_to_sleep(60)
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    back.refresh_from_db()
    assert (back.kind, back.state, back.done, back.total) == (Job.Kind.RETURN, Job.State.FINISHED, 60, 60)
    changes = sorted((c["task"], c["before"], c["after"]) for c in sandbox.truth("acme")[before:])
    assert changes == sorted(step for id in ids_of(job) for step in [(id, 6, 2), (id, 2, 3)])
    assert states_of_deferrals() == {Deferral.State.RETURNED}
    assert not jobs.can_undo(job)


def test_pending_tasks_return_to_pending(sandbox, person, put_to_sleep):
    job = put_to_sleep(3, status=2)
    undo(job)
    work(person)
    assert set(sandbox.states("acme", ids_of(job)).values()) == {2}


def test_undo_covers_the_continued_job(sandbox, person, put_to_sleep, tasks):
    job = put_to_sleep(2)
    more = tasks(3)
    JobItem.objects.bulk_create(JobItem(job=job, task_id=id, state=S.CANCELLED, code=Code.STOPPED) for id in more)
    rest = jobs.retry(job, [S.CANCELLED], "again")
    work(person)
    rest.refresh_from_db()
    assert jobs.can_undo(rest)
    back = undo(rest)
    work(person)
    back.refresh_from_db()
    assert (back.total, back.done) == (5, 5)
    assert set(sandbox.states("acme", ids_of(job)).values()) == {3}


def test_undo_needs_a_finished_job(person, put_to_sleep, tasks):
    job = put_to_sleep(2)
    JobItem.objects.create(job=job, task_id=tasks(1)[0], state=S.CANCELLED, code=Code.STOPPED)
    rest = jobs.retry(job, [S.CANCELLED], "again")
    with pytest.raises(jobs.NotReady):
        undo(rest)
    work(person)
    rest.refresh_from_db()
    assert undo(rest).total == 3


def test_undo_ignores_later_jobs(person, put_to_sleep, tasks):
    job = put_to_sleep(2)
    JobItem.objects.create(job=job, task_id=tasks(1)[0], state=S.CANCELLED, code=Code.STOPPED)
    jobs.retry(job, [S.CANCELLED], "again")
    work(person)
    assert undo(job).total == 2


def test_undo_twice_is_one_job(person, put_to_sleep):
    job = put_to_sleep(2)
    assert undo(job) == undo(job)
    work(person)
    with pytest.raises(jobs.NotReady):
        undo(job, "again")


def test_changes_of_others_stay(sandbox, person, put_to_sleep):
    job = put_to_sleep(5)
    completed, started, deleted, anew, ours = ids_of(job)
    sandbox.change_task("acme", completed, status=5)
    sandbox.change_task("acme", started, status=3)
    sandbox.change_task("acme", deleted, delete=True)
    sandbox.move_clock(60)
    sandbox.change_task("acme", anew, status=2)
    sandbox.change_task("acme", anew, status=6)
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    assert outcomes(back) == {
        completed: (S.SKIPPED, Code.COMPLETED),
        started: (S.SKIPPED, Code.AWAKE),
        deleted: (S.SKIPPED, Code.GONE),
        anew: (S.SKIPPED, Code.DEFERRED_ANEW),
        ours: (S.DONE, ""),
    }
    assert {change["task"] for change in sandbox.truth("acme")[before:]} == {ours}
    assert sandbox.states("acme", [completed, anew]) == {completed: 5, anew: 6}
    assert states_of_deferrals() == {Deferral.State.RETURNED, Deferral.State.OVERTAKEN}


def test_a_completed_task_is_not_reopened(sandbox, person, put_to_sleep, monkeypatch):
    job = put_to_sleep(60)
    last = ids_of(job)[-1]
    back = undo(job)
    save, saved = batches.Batch._save, []

    def complete_after_the_first_batch(step, items, shown, replies=None, **also):
        save(step, items, shown, replies, **also)
        if replies and not saved:
            saved.append(sandbox.change_task("acme", last, status=5))

    monkeypatch.setattr(batches.Batch, "_save", complete_after_the_first_batch)
    work(person)
    assert outcomes(back)[last] == (S.SKIPPED, Code.COMPLETED)
    assert sandbox.states("acme", [last]) == {last: 5}


@pytest.mark.parametrize("method, skip", [("batch", 0), ("tasks.task.start", 2), ("tasks.task.renew", 3)])
def test_a_lost_answer_is_read(sandbox, person, put_to_sleep, method, skip):
    job = put_to_sleep(5)
    before = len(sandbox.truth("acme"))
    sandbox.fault(method, "drop" if method == "batch" else "cut", skip=skip)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.DONE, ""))
    assert len(sandbox.truth("acme")) - before == 10


def test_a_task_that_cannot_start_says_so(sandbox, person, put_to_sleep):
    job = put_to_sleep(3)
    sandbox.fault("tasks.task.start", "error", code="1048582", status=400, times=-1)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.DONE, Code.NOT_STARTED))
    assert set(sandbox.states("acme", ids_of(job)).values()) == {2}
    assert states_of_deferrals() == {Deferral.State.RETURNED}


def test_a_refused_return_can_be_retried(sandbox, person, put_to_sleep):
    job = put_to_sleep(3)
    sandbox.fault("tasks.task.renew", "error", code="1048582", status=400, times=3)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.FAILED, Code.NOT_PERMITTED))
    assert states_of_deferrals() == {Deferral.State.SLEEPING}
    back.refresh_from_db()
    again = jobs.retry(back, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == dict.fromkeys(ids_of(job), (S.DONE, ""))
    assert set(sandbox.states("acme", ids_of(job)).values()) == {3}


def test_a_stopped_return_starts_renewed_tasks(sandbox, person, put_to_sleep):
    job = put_to_sleep(40)
    back = undo(job)
    sandbox.fault("tasks.task.start", "error", code="OPERATION_TIME_LIMIT", status=429, times=25)
    slices.run(person.portal_id)
    renewed = {id for id, status in sandbox.states("acme", ids_of(job)).items() if status == 2}
    assert 0 < len(renewed) < 40
    assert jobs.stop(back)
    sandbox.clear_faults()
    Job.objects.update(wait_until=back.created_at)
    work(person)
    back.refresh_from_db()
    assert (back.state, back.done, back.cancelled) == (Job.State.FINISHED, len(renewed), 40 - len(renewed))
    states = sandbox.states("acme", ids_of(job))
    assert {id for id, status in states.items() if status == 3} == renewed
    assert set(states.values()) == {3, 6}


def test_undo_in_the_oldest_box(sandbox, person, tasks, job_for):
    sandbox.turn({"acme/old_defer_rule": True, "acme/no_new_tasks": True, "acme/old_post": True})
    ids = tasks(30)
    job = job_for(ids)
    work(person)
    job.refresh_from_db()
    assert set(sandbox.states("acme", ids).values()) == {6}
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids, (S.DONE, ""))
    changes = sandbox.truth("acme")[before:]
    assert {change["method"] for change in changes} == {"task.item.renew", "task.item.startexecution"}
    assert sorted((c["task"], c["before"], c["after"]) for c in changes) == sorted(
        step for id in ids for step in [(id, 6, 2), (id, 2, 3)]
    )


def test_a_retried_return_spares_a_new_deferral(person, tasks, job_for, put_to_sleep):
    job = put_to_sleep(1)
    (task,) = ids_of(job)
    undo(job)
    work(person)
    again = job_for([task], "again")
    work(person)
    assert outcomes(again) == {task: (S.DONE, "")}
    with pytest.raises(jobs.NotReady):
        undo(job, "once more")
    assert jobs.can_undo(again)
