"""One task's way back, decided without a portal."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24app.bitrix.client import Answer
from b24app.bitrix.errors import AccessLost, OperatingLimit, Refused, Unknown
from b24app.bitrix.tasks import Act, TaskState
from b24app.engine import returning
from b24app.models import Deferral, JobItem

ME, OTHER = 5, 7
S, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
DEFERRED_AT = datetime(2026, 11, 23, tzinfo=UTC)

OK, NO, LOST = "ok", Refused("1048582"), Unknown("no_answer_for_key")
LIMIT = OperatingLimit("OPERATION_TIME_LIMIT")
NOT_ALLOWED = {"refusal": "1048582", "vendor_code": "1048582"}


def task(status, by=ME, at=DEFERRED_AT):
    return TaskState(31, "Call", status, frozenset({ME}), by, at, creator="Ann", changed_by="Eve")


def full(status, by=ME):
    raw = {"id": "31", "title": "Call", "status": str(status), "statusChangedBy": str(by), "createdBy": "5"}
    return Answer({"task": raw})


def sent(before=3, step=Step.NONE, sends=1, state=S.SENT, **fields):
    deferral = Deferral(task_id=31, previous_status=before, status_changed_at=DEFERRED_AT, created_at=DEFERRED_AT)
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
        (full(2, by=OTHER), NO, S.SENT, Step.NONE, True),
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
    returning.apply_answer(item, {Act.RENEW: full(2, by=OTHER)}, ME)
    assert item.state == S.SENT
    returning.apply_reading(item, task(2, by=OTHER), ME)
    assert (item.state, item.code, item.changed_by) == (S.SKIPPED, Code.AWAKE, "Eve")


LATER = DEFERRED_AT + timedelta(minutes=1)


@pytest.mark.parametrize(
    "item, found, state, code",
    [
        # before anything is sent
        (sent(state=S.PENDING), task(6), S.PENDING, ""),
        (sent(state=S.PENDING), task(6, at=LATER), S.SKIPPED, Code.DEFERRED_ANEW),
        (sent(state=S.PENDING, sends=0), task(3), S.SKIPPED, Code.AWAKE),
        (sent(state=S.PENDING, sends=0), task(2), S.SKIPPED, Code.AWAKE),
        (sent(state=S.PENDING), task(5), S.SKIPPED, Code.COMPLETED),
        (sent(state=S.PENDING), None, S.SKIPPED, Code.GONE),
        # lost answers
        (sent(), task(6), S.PENDING, ""),
        (sent(), task(3), S.DONE, ""),
        (sent(), task(3, by=OTHER), S.SKIPPED, Code.AWAKE),
        (sent(), task(2), S.PENDING, ""),
        (sent(before=2), task(2), S.DONE, ""),
        (sent(), task(5), S.SKIPPED, Code.COMPLETED),
        (sent(sends=4), task(6), S.FAILED, Code.REFUSED),
        # refusals
        (sent(**NOT_ALLOWED), task(6), S.FAILED, Code.NOT_PERMITTED),
        (sent(refusal="1048584", vendor_code="1048584"), task(6), S.FAILED, Code.REFUSED),
        (sent(**NOT_ALLOWED), task(3, by=OTHER), S.SKIPPED, Code.AWAKE),
        # renewed, and not started: a second, fresh request decides
        (sent(step=Step.RENEWED, **NOT_ALLOWED), task(2), S.PENDING, ""),
        (sent(step=Step.RENEWED, sends=2, **NOT_ALLOWED), task(2), S.DONE, Code.NOT_STARTED),
        (sent(step=Step.RENEWED, sends=4), task(2), S.DONE, Code.NOT_STARTED),
        (sent(step=Step.RENEWED, **NOT_ALLOWED), task(3, by=OTHER), S.DONE, ""),
        # refused after it was done, or settled before it came
        (sent(**NOT_ALLOWED), task(3), S.DONE, ""),
        (sent(before=2, **NOT_ALLOWED), task(2), S.DONE, ""),
        (sent(**NOT_ALLOWED), task(2), S.PENDING, ""),
        (sent(state=S.PENDING), task(3), S.DONE, ""),
        (sent(step=Step.RENEWED, state=S.PENDING), task(6, by=OTHER, at=LATER), S.SKIPPED, Code.DEFERRED_ANEW),
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
    returning.apply_reading(item, task(6, at=DEFERRED_AT + later), ME)
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
        found = None if status is None else task(status, ME if mine else OTHER)
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
    return full(status, by=OTHER) if word == "noop" else word
