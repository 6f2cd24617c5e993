"""One task's way back: which acts come next, and what an answer or a reading means for it.

Pure decisions over one item, without database or network, as steps.py makes them for the way to Deferred. A task is
renewed, and started where it was in progress before; both acts are sent together.

    6 --renew--> 2 --start--> 3

Renewing would reopen a completed task too, so that only a task is touched that is asleep, and by our act: its status
changed last when we deferred it. Whatever else is found means that somebody has overtaken us.
"""

from datetime import timedelta

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.engine.outcomes import (
    ENDED,
    MAX_SENDS,
    Verdict,
    finish,
    has_refusal,
    is_shown,
    may_be_lost,
    may_be_ours,
    record_changer,
    record_refusal,
    refusal_of,
    revert_send,
    verdict,
)
from b24app.models import JobItem

State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
CLOCKS_DIFFER = timedelta(minutes=10)  # the portal's and ours, at the most


def acts_for(item: JobItem) -> list[Act]:
    """What to send next for an item whose task was read."""
    if item.step == Step.RENEWED:
        return [Act.START]
    return [Act.RENEW, Act.START] if _was_in_progress(item) else [Act.RENEW]


def _was_in_progress(item: JobItem) -> bool:
    return item.status_before == Status.IN_PROGRESS


def apply_answer(item: JobItem, replies: dict[Act, Reply], user_id: int) -> None:
    """Move a sent item according to what its acts were answered; `user_id` is the acting person.

    An item that stays sent is to be read: at once when it carries a refusal, else after SETTLE_AFTER.
    """
    renew, start = replies.get(Act.RENEW), replies.get(Act.START)
    if isinstance(renew, Answer) and may_be_ours(tasks.state_in(renew), user_id):
        item.step, item.status_seen = Step.RENEWED, Status.PENDING
    wanted = Status.IN_PROGRESS if _was_in_progress(item) else Status.PENDING
    last = start or replies[Act.RENEW]
    match verdict(renew if start else None, last):
        case Verdict.APPLIED if is_shown(item, last, wanted, user_id):
            item.state = State.DONE
        case Verdict.NOT_RUN:
            revert_send(item)
        case Verdict.REFUSED:
            record_refusal(item, renew if start else None, last)


def apply_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to what its task is now. Works for pending items and for sent ones that are due.

    Safe to repeat; a terminal state is final.
    """
    was_lost, refused = may_be_lost(item), has_refusal(item)
    item.refusal = ""
    if found is None:
        finish(item, State.SKIPPED, Code.GONE)
        return
    item.status_seen = found.status
    ours = found.status_changed_by == user_id if was_lost else item.step == Step.RENEWED
    if found.status == Status.DEFERRED:
        _apply_still_deferred(item, found, refused)
    elif found.status in ENDED:
        finish(item, State.SKIPPED, ENDED[found.status])
    elif not ours:
        finish(item, State.SKIPPED, Code.AWAKE)
    elif found.status == Status.IN_PROGRESS or not _was_in_progress(item):
        item.state = State.DONE
    else:
        _start_again(item, refused)
    record_changer(item, found)


def _apply_still_deferred(item: JobItem, found: TaskState, refused: bool) -> None:
    if _is_another_deferral(item, found) or item.step == Step.RENEWED:
        finish(item, State.SKIPPED, Code.DEFERRED_ANEW)
    elif refused:
        finish(item, State.FAILED, refusal_of(item))
    elif item.sends >= MAX_SENDS:
        finish(item, State.FAILED, Code.REFUSED)
    else:
        item.state = State.PENDING


def _is_another_deferral(item: JobItem, found: TaskState) -> bool:
    """Whether the task fell asleep at another time than by our act; where that is not known, long after it."""
    if item.returns is None or found.status_changed_at is None:
        return False
    if since := item.returns.status_changed_at:
        return found.status_changed_at != since
    return found.status_changed_at > item.returns.created_at + CLOCKS_DIFFER


def _start_again(item: JobItem, refused: bool) -> None:
    """It is back and not in progress yet. A second, fresh request decides: see steps.py."""
    item.step = Step.RENEWED
    if (refused and item.sends >= 2) or item.sends >= MAX_SENDS:
        item.state, item.code = State.DONE, Code.NOT_STARTED
    else:
        item.state = State.PENDING
