"""One task's way to Deferred, decided without a portal."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24app.bitrix.client import Answer
from b24app.bitrix.errors import AccessLost, MethodDenied, OperatingLimit, Refused, Unknown
from b24app.bitrix.tasks import Act, TaskState
from b24app.engine import deferring, outcomes
from b24app.models import JobItem

ME, OTHER = 5, 7
S, Step, Code = JobItem.State, JobItem.Step, JobItem.Code

OK = "ok"
NO = Refused("1048582")
LOST = Unknown("no_answer_for_key")
NOT_ALLOWED = {"refusal": "1048582", "vendor_code": "1048582"}
LIMIT = OperatingLimit("OPERATION_TIME_LIMIT")


def task(status, by=ME):
    return TaskState(31, "Call", status, frozenset({ME}), by, datetime(2026, 11, 23, tzinfo=UTC))


def full(status, by=ME):
    raw = {"id": "31", "title": "Call", "status": str(status), "statusChangedBy": str(by), "createdBy": "5"}
    return Answer({"task": raw})


def sent(seen=3, step=Step.NONE, sends=1, **fields):
    return JobItem(task_id=31, state=S.SENT, status_seen=seen, status_before=3, step=step, sends=sends, **fields)


@pytest.mark.parametrize(
    "seen, step, acts",
    [
        (3, Step.NONE, [Act.PAUSE, Act.DEFER]),
        (2, Step.NONE, [Act.DEFER]),
        (1, Step.NONE, [Act.DEFER]),
        (2, Step.PAUSED, [Act.DEFER]),
        (2, Step.RESTORING, [Act.START]),
    ],
)
def test_the_status_decides_the_commands(seen, step, acts):
    assert deferring.acts_for(sent(seen, step)) == acts


def test_direct_defer_needs_one_command():
    assert deferring.acts_for(sent(3, direct=True)) == [Act.DEFER]
    assert deferring.acts_for(sent(2, Step.RESTORING, direct=True)) == [Act.START]


@pytest.mark.parametrize(
    "pause, defer, state, step, to_be_read",
    [
        (OK, OK, S.DONE, Step.PAUSED, False),
        (OK, NO, S.SENT, Step.PAUSED, True),
        (OK, LOST, S.SENT, Step.PAUSED, False),
        (OK, LIMIT, S.PENDING, Step.PAUSED, False),
        (NO, OK, S.DONE, Step.NONE, False),
        (NO, NO, S.SENT, Step.NONE, True),
        (NO, LIMIT, S.SENT, Step.NONE, True),
        (NO, LOST, S.SENT, Step.NONE, False),
        (LIMIT, NO, S.PENDING, Step.NONE, False),
        (LIMIT, LIMIT, S.PENDING, Step.NONE, False),
        (LOST, NO, S.SENT, Step.NONE, False),
        (LOST, OK, S.DONE, Step.NONE, False),
        (OK, MethodDenied("METHOD_CONFIRM_DENIED"), S.SENT, Step.PAUSED, True),
        (AccessLost("insufficient_scope"), AccessLost("insufficient_scope"), S.PENDING, Step.NONE, False),
    ],
)
def test_each_pair_of_answers_has_one_outcome(pause, defer, state, step, to_be_read):
    item = sent()
    replies = {
        Act.PAUSE: full(2) if pause is OK else pause,
        Act.DEFER: full(6) if defer is OK else defer,
    }
    deferring.apply_answer(item, replies, ME)
    assert (item.state, item.step, bool(item.refusal)) == (state, step, to_be_read)


@pytest.mark.parametrize("limit", [LIMIT, AccessLost("METHOD_CONFIRM_WAITING")])
def test_a_command_not_run_was_not_sent(limit):
    item = sent(sends=4)
    deferring.apply_answer(item, {Act.PAUSE: limit, Act.DEFER: limit}, ME)
    assert (item.state, item.sends) == (S.PENDING, 3)


def test_an_empty_success_is_read():
    item = sent(seen=2)
    assert deferring.apply_answer(item, {Act.DEFER: full(6, by=OTHER)}, ME) is None
    assert item.state == S.SENT
    assert item.refusal
    deferring.apply_reading(item, task(6, by=OTHER), ME)
    assert (item.state, item.code) == (S.SKIPPED, Code.ALREADY_DEFERRED)


@pytest.mark.parametrize("shown", [full(2), Answer({"task": {"id": "31"}})], ids=["from before", "garbled"])
def test_a_success_with_another_status_is_read(shown):
    item = sent()
    assert deferring.apply_answer(item, {Act.PAUSE: full(2), Act.DEFER: shown}, ME) is None
    assert (item.state, bool(item.refusal)) == (S.SENT, True)
    deferring.apply_reading(item, task(6), ME)
    assert (item.state, item.code) == (S.DONE, "")


def test_anothers_pause_is_the_original_status():
    item = sent()
    deferring.apply_answer(item, {Act.PAUSE: full(2, by=OTHER), Act.DEFER: full(6)}, ME)
    assert (item.state, item.status_before) == (S.DONE, 2)


def test_anothers_pause_is_not_undone():
    item = sent()
    deferring.apply_answer(item, {Act.PAUSE: full(2, by=OTHER), Act.DEFER: NO}, ME)
    deferring.apply_reading(item, task(2, by=OTHER), ME)
    assert (item.state, item.step, item.code) == (S.FAILED, Step.NONE, Code.NOT_PERMITTED)


@pytest.mark.parametrize(
    "pause, defer, code, vendor_code",
    [
        (Refused("1048584"), NO, Code.REFUSED, "1048584"),
        (MethodDenied("METHOD_CONFIRM_DENIED"), NO, Code.REFUSED, "METHOD_CONFIRM_DENIED"),
        (NO, LIMIT, Code.NOT_PERMITTED, "1048582"),
    ],
)
def test_a_refused_pause_gives_the_reason(pause, defer, code, vendor_code):
    item = sent()
    deferring.apply_answer(item, {Act.PAUSE: pause, Act.DEFER: defer}, ME)
    deferring.apply_reading(item, task(3), ME)
    assert (item.state, item.code, item.vendor_code) == (S.FAILED, code, vendor_code)


def test_a_success_without_a_task_counts():
    item = sent(seen=2)
    assert deferring.apply_answer(item, {Act.DEFER: Answer([])}, ME) is None
    assert item.state == S.DONE


@pytest.mark.parametrize(
    "found, state, code",
    [
        (task(6), S.DONE, ""),
        (task(6, by=OTHER), S.SKIPPED, Code.ALREADY_DEFERRED),
        (task(3), S.PENDING, ""),
        (task(5), S.SKIPPED, Code.COMPLETED),
        (None, S.FAILED, Code.GONE),
    ],
)
def test_a_silent_success_is_read_at_once(found, state, code):
    item = sent(direct=True)
    assert deferring.apply_answer(item, {Act.DEFER: Answer(None)}, ME) is None
    assert (item.state, bool(item.refusal)) == (S.SENT, True)
    deferring.apply_reading(item, found, ME)
    assert (item.state, item.code) == (state, code)


def test_a_refused_direct_defer_gets_a_pause():
    item = sent(direct=True)
    deferring.apply_answer(item, {Act.DEFER: NO}, ME)
    assert deferring.is_refused_directly(item, task(3))
    deferring.apply_reading(item, task(3), ME)
    assert item.state == S.PENDING
    assert deferring.acts_for(item) == [Act.PAUSE, Act.DEFER]


@pytest.mark.parametrize(
    "item, found",
    [
        (sent(direct=True), task(3)),  # lost, not refused
        (sent(direct=True, refusal=outcomes.UNSEEN), task(3)),
        (sent(direct=True, **NOT_ALLOWED), task(2)),  # another user paused it meanwhile
        (sent(direct=True, **NOT_ALLOWED), task(5)),
        (sent(direct=True, **NOT_ALLOWED), None),
        (sent(direct=False, **NOT_ALLOWED), task(3)),
    ],
)
def test_only_such_a_refusal_is_a_direct_one(item, found):
    assert not deferring.is_refused_directly(item, found)


def test_a_pause_not_sent_is_not_ours():
    item = sent(direct=True)
    deferring.apply_reading(item, task(2), ME)
    assert (item.state, item.step) == (S.PENDING, Step.NONE)


@pytest.mark.parametrize(
    "item, found, state, code, step",
    [
        # lost answers
        (sent(), task(6), S.DONE, "", Step.NONE),
        (sent(), task(6, by=OTHER), S.SKIPPED, Code.ALREADY_DEFERRED, Step.NONE),
        (sent(), task(2), S.PENDING, "", Step.PAUSED),
        (sent(), task(2, by=OTHER), S.PENDING, "", Step.NONE),
        (sent(), task(3), S.PENDING, "", Step.NONE),
        (sent(), task(5), S.SKIPPED, Code.COMPLETED, Step.NONE),
        (sent(), None, S.FAILED, Code.GONE, Step.NONE),
        (sent(**NOT_ALLOWED), None, S.SKIPPED, Code.GONE, Step.NONE),
        (sent(refusal="1048584", vendor_code="1048584"), task(3), S.FAILED, Code.REFUSED, Step.NONE),
        (sent(seen=2), task(2), S.PENDING, "", Step.NONE),
        # refusals
        (sent(**NOT_ALLOWED), task(3), S.FAILED, Code.NOT_PERMITTED, Step.NONE),
        (sent(seen=2, **NOT_ALLOWED), task(2), S.FAILED, Code.NOT_PERMITTED, Step.NONE),
        (sent(seen=2, **NOT_ALLOWED), task(3), S.PENDING, "", Step.NONE),
        (sent(**NOT_ALLOWED), task(6), S.DONE, "", Step.NONE),  # refused after it was done
        (sent(**NOT_ALLOWED), task(6, by=OTHER), S.SKIPPED, Code.ALREADY_DEFERRED, Step.NONE),
        (sent(**NOT_ALLOWED), task(4), S.SKIPPED, Code.AWAITING_CONTROL, Step.NONE),
        # paused, then refused: a second defer in a fresh request, then started again
        (sent(2, Step.PAUSED, 1, **NOT_ALLOWED), task(2), S.PENDING, "", Step.PAUSED),
        (
            sent(2, Step.PAUSED, 2, **NOT_ALLOWED),
            task(2),
            S.PENDING,
            Code.NOT_PERMITTED,
            Step.RESTORING,
        ),
        (sent(2, Step.RESTORING, 3, code=Code.NOT_PERMITTED), task(3), S.FAILED, Code.NOT_PERMITTED, Step.NONE),
        (sent(2, Step.RESTORING, 3, code=Code.NOT_PERMITTED), task(2), S.PENDING, Code.NOT_PERMITTED, Step.RESTORING),
        (sent(2, Step.RESTORING, 6, code=Code.NOT_PERMITTED), task(2), S.FAILED, Code.LEFT_PAUSED, Step.RESTORING),
        (sent(2, Step.PAUSED), None, S.FAILED, Code.LEFT_PAUSED, Step.PAUSED),
        # other users keep changing it
        (sent(seen=2, sends=4), task(3), S.FAILED, Code.CHANGING, Step.NONE),
        # every answer was lost, and no command was applied
        (sent(sends=4), task(3), S.FAILED, Code.REFUSED, Step.NONE),
        (sent(2, Step.PAUSED, 4), task(2), S.PENDING, Code.REFUSED, Step.RESTORING),
    ],
)
def test_each_reading_has_one_outcome(item, found, state, code, step):
    deferring.apply_reading(item, found, ME)
    assert (item.state, item.code, item.step) == (state, code, step)


@pytest.mark.parametrize("found, before", [(task(2), 3), (task(2, by=OTHER), None), (task(3, by=OTHER), None)])
def test_anothers_change_makes_a_new_original_status(found, before):
    item = sent()
    deferring.apply_reading(item, found, ME)
    assert (item.state, item.status_before) == (S.PENDING, before)


@pytest.mark.parametrize(
    "item",
    [
        sent(**NOT_ALLOWED),
        sent(2, Step.PAUSED, 2, **NOT_ALLOWED),
        sent(2, Step.RESTORING, 3, code=Code.STOPPED),
        JobItem(task_id=31, state=S.PENDING, status_seen=3, sends=1),
        JobItem(task_id=31, state=S.PENDING, status_before=3, step=Step.PAUSED),
    ],
    ids=["refused", "refused twice", "stopped", "settled before", "continued"],
)
def test_a_deferral_by_our_person_is_ours(item):
    deferring.apply_reading(item, task(6), ME)
    assert (item.state, item.code, item.step, item.status_before) == (S.DONE, "", Step.NONE, 3)


def test_an_untouched_task_that_is_deferred_is_not_ours():
    item = JobItem(task_id=31, state=S.PENDING, status_seen=3)
    deferring.apply_reading(item, task(6), ME)
    assert (item.state, item.code) == (S.SKIPPED, Code.ALREADY_DEFERRED)


def test_a_refused_start_is_read_too():
    item = sent(2, Step.RESTORING, 3, code=Code.NOT_PERMITTED)
    deferring.apply_answer(item, {Act.START: Refused("0")}, ME)
    assert item.state == S.SENT
    assert item.refusal == "0"


replies = st.sampled_from([OK, "noop", "null", NO, LOST, LIMIT])
worlds = st.sampled_from([None, 1, 2, 3, 4, 5, 6, 7])


@given(st.lists(st.tuples(replies, replies, worlds, st.booleans()), min_size=40, max_size=40), st.booleans())
def test_every_item_ends_and_none_stays_paused_silently(story, directly):
    item = JobItem(task_id=31)
    for first, last, status, mine in story:
        found = None if status is None else task(status, ME if mine else OTHER)
        if item.state == S.PENDING and item.status_seen:
            item.direct = directly and item.status_seen == 3
            acts = deferring.acts_for(item)
            item.state, item.sends = S.SENT, item.sends + 1
            item.status_before = item.status_before or item.status_seen
            after = {Act.PAUSE: 2, Act.DEFER: 6, Act.START: 3}
            words = dict(zip(acts, [first, last], strict=False))
            deferring.apply_answer(item, {act: _reply(word, after[act]) for act, word in words.items()}, ME)
        elif item.state in (S.PENDING, S.SENT):
            deferring.apply_reading(item, found, ME)
    limited = all(LIMIT in (first, last) for first, last, _, _ in story)
    assert item.state in (S.DONE, S.SKIPPED, S.FAILED) or limited or item.sends <= outcomes.MAX_SENDS + 2
    if item.state == S.FAILED:
        assert item.code
        assert item.step == Step.NONE or item.code == Code.LEFT_PAUSED


def _reply(word, status):
    if word is OK:
        return full(status)
    if word == "null":
        return Answer(None)
    return full(status, by=OTHER) if word == "noop" else word
