"""One task's way to Deferred: which acts come next, and what an answer or a reading means for it.

Pure decisions over one item, without database or network. A task in progress is deferred in two steps, pause
then defer, both sent together, or directly where the portal allows that; every answer that does not settle the
matter is followed by a reading.

    pending --sent--> answered: done | to be read (refusal, no task shown) | pending (nothing ran) | lost
    to be read, lost --reading--> done | skipped | failed | pending (again, or to be started again)
"""

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer
from b24app.bitrix.errors import AccessLost, BitrixError, Denied, NotRun, Unknown
from b24app.bitrix.tasks import Act, TaskState
from b24app.models import JobItem

MAX_SENDS = 4  # of one item; somebody else keeps changing a task that needs more

UNSEEN = "unseen"  # in place of a refusal: a success that did not show the task

# The codes by which a portal says "not allowed" of a task that is there and has the right status. Others, such as
# 1048584 of a validator, are refusals for a reason that we do not know.
NOT_ALLOWED = frozenset({"1048582", "0", "ERROR_CORE", "ACCESS_DENIED"})

State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
Reply = Answer | BitrixError

ENDED = {
    tasks.AWAITING_CONTROL: Code.AWAITING_CONTROL,
    tasks.COMPLETED: Code.COMPLETED,
    tasks.DECLINED: Code.DECLINED,
}


def acts_for(item: JobItem) -> list[Act]:
    """What to send next for an item whose status was read."""
    if item.step == Step.RESTORING:
        return [Act.START]
    if item.status_seen == tasks.IN_PROGRESS and not item.directly:
        return [Act.PAUSE, Act.DEFER]
    return [Act.DEFER]


def take_answer(item: JobItem, replies: dict[Act, Reply], user_id: int) -> TaskState | None:
    """Move a sent item according to what its acts were answered; `user_id` is the acting person.

    Returns the task as the portal showed it after it was deferred, None where it did not show it or the item is
    not done. An item that stays sent is to be read: at once when it carries a refusal, else after SETTLE_AFTER.
    """
    last = replies.get(Act.START) or replies[Act.DEFER]
    pause = replies.get(Act.PAUSE)
    if isinstance(pause, Answer):
        item.step = Step.PAUSED
        item.status_seen = tasks.PENDING
    if isinstance(last, Answer):
        return _take_success(item, last, user_id)
    if isinstance(last, Unknown) or isinstance(pause, Unknown):
        return None  # lost: read it later
    if _may_run_later(pause) or (_may_run_later(last) and not _is_refused(pause)):
        item.state = State.PENDING  # where the pause did not run, the refusal of the defer means nothing
        item.sends -= 1
        if not item.sends and item.step == Step.NONE and item.status_before == item.status_seen:
            item.status_before = None  # nothing was touched yet
    else:
        item.refusal = last.code or "refused"
        item.vendor_code = last.code[:100]
    return None


def _may_run_later(reply: Reply | None) -> bool:
    return isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, Denied)


def _is_refused(reply: Reply | None) -> bool:
    return isinstance(reply, BitrixError) and not _may_run_later(reply)


def _take_success(item: JobItem, answer: Answer, user_id: int) -> TaskState | None:
    if item.step == Step.RESTORING:
        _fail(item, Code(item.code))
        return None
    if answer.result is None:  # the legacy dialect says no more than that: whose doing it was, a reading tells
        item.refusal = UNSEEN
        return None
    found = tasks.state_in(answer)
    if found and (found.status != tasks.DEFERRED or found.status_changed_by not in (None, user_id)):
        item.refusal = "not_ours"  # a success that changed nothing: somebody else was there first
        return None
    item.state = State.DONE
    return found


def take_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to what its task is now. Works for pending items and for sent ones that are due.

    The status is kept for the next send; a terminal state is final. Safe to repeat.
    """
    was_lost = item.state == State.SENT and item.refusal in ("", UNSEEN)
    refused, item.refusal = has_refusal(item), ""
    if found is None:
        _lose_sight(item, was_lost)
        return
    seen, item.status_seen = item.status_seen, found.status
    ours = found.status_changed_by == user_id
    if found.status == tasks.DEFERRED:
        if was_lost and ours and item.step != Step.RESTORING:
            item.state = State.DONE
        else:
            _skip(item, Code.ALREADY_DEFERRED, found)
    elif found.status in ENDED:
        _skip(item, ENDED[found.status], found)
    elif found.status == tasks.IN_PROGRESS:
        _take_in_progress(item, refused and seen == tasks.IN_PROGRESS, changed=seen != found.status)
    else:
        if was_lost and ours and seen == tasks.IN_PROGRESS and item.step == Step.NONE and not item.directly:
            item.step = Step.PAUSED  # the first half was applied
        _take_paused_or_pending(item, refused and seen != tasks.IN_PROGRESS, changed=seen != found.status)


def _take_in_progress(item: JobItem, refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        _fail(item, Code(item.code))  # it is in progress again, which was the point
    elif refused and not item.directly:
        _fail(item, _refusal_of(item))
    else:
        # Whoever started it, and whether or not it could not be deferred directly: it takes both steps.
        item.step, item.directly = Step.NONE, False
        _try_again(item, changed)


def _take_paused_or_pending(item: JobItem, defer_refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        if item.sends >= MAX_SENDS + 2:
            _fail(item, Code.LEFT_PAUSED)
        else:
            item.state = State.PENDING
    elif item.step == Step.PAUSED:
        # One batch is one PHP process: what it remembered from before the pause may have refused the defer. So
        # a second, fresh request decides.
        if item.sends >= 2 and defer_refused:
            item.step, item.code = Step.RESTORING, _refusal_of(item)
            item.state = State.PENDING
        else:
            _try_again(item, changed)
    elif defer_refused:
        _fail(item, _refusal_of(item))
    else:
        _try_again(item, changed)


def _try_again(item: JobItem, changed: bool) -> None:
    """Back to pending: the reading proved that what was sent is not applied, `changed` by somebody else or not."""
    why = Code.CHANGING if changed else Code.REFUSED
    if item.sends < MAX_SENDS:
        item.state = State.PENDING
    elif item.step == Step.PAUSED:
        item.step, item.code, item.state = Step.RESTORING, why, State.PENDING
    else:
        _fail(item, why)


def _refusal_of(item: JobItem) -> JobItem.Code:
    return Code.NOT_PERMITTED if item.vendor_code.upper() in NOT_ALLOWED else Code.REFUSED


def has_refusal(item: JobItem) -> bool:
    """Whether the answer to what was sent last was a refusal that is still to be understood."""
    return item.refusal not in ("", UNSEEN)


def is_refused_directly(item: JobItem, found: TaskState | None) -> bool:
    """Whether the portal refused to defer a task from in progress that is in progress indeed."""
    both = {item.status_seen, found.status if found else None}
    return item.directly and has_refusal(item) and both == {tasks.IN_PROGRESS}


def _lose_sight(item: JobItem, was_lost: bool) -> None:
    """The task is deleted, or the person may not see it any more."""
    if item.step != Step.NONE:
        _fail(item, Code.LEFT_PAUSED)
    elif was_lost:
        _fail(item, Code.GONE)  # we may have changed it, and nobody can tell us
    else:
        item.state, item.code = State.SKIPPED, Code.GONE


def _skip(item: JobItem, code: JobItem.Code, found: TaskState) -> None:
    item.state, item.step, item.code = State.SKIPPED, Step.NONE, code
    item.changed_at = found.status_changed_at


def _fail(item: JobItem, code: JobItem.Code) -> None:
    item.state, item.code = State.CANCELLED if code == Code.STOPPED else State.FAILED, code
    if code != Code.LEFT_PAUSED:
        item.step = Step.NONE
