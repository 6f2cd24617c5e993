"""One task's way to Deferred: which acts come next, and what an answer or a reading means for it.

Pure decisions over one item, without database or network. A task in progress is deferred in two steps, pause
then defer, both sent together, or directly where the portal allows that; every answer that does not settle the
matter is followed by a reading.

    pending --sent--> answered: done | to be read (refusal, no task shown) | pending (nothing ran) | lost
    to be read, lost --reading--> done | skipped | failed | pending (again, or to be started again)
"""

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.engine import outcomes
from b24app.engine.outcomes import Code, State, Step, Verdict
from b24app.models import JobItem


def acts_for(item: JobItem) -> list[Act]:
    """What to send next for an item whose status was read."""
    if item.step == Step.RESTORING:
        return [Act.START]
    if item.status_seen == Status.IN_PROGRESS and not item.direct:
        return [Act.PAUSE, Act.DEFER]
    return [Act.DEFER]


def apply_answer(item: JobItem, replies: dict[Act, Reply], user_id: int) -> TaskState | None:
    """Move a sent item according to what its acts were answered; `user_id` is the acting person.

    Returns the task as the portal showed it after it was deferred, None where it did not show it or the item is
    not done. An item that stays sent is to be read: at once when it carries a refusal, else after SETTLE_AFTER.
    """
    last = replies.get(Act.START) or replies[Act.DEFER]
    pause = replies.get(Act.PAUSE)
    if isinstance(pause, Answer):
        _apply_pause(item, is_ours=outcomes.may_be_ours(tasks.state_in(pause), user_id))
    match outcomes.verdict(pause, last):
        case Verdict.APPLIED if item.step == Step.RESTORING:
            _fail(item, Code(item.code))
        case Verdict.APPLIED if outcomes.is_shown(item, last, Status.DEFERRED, user_id):
            item.state = State.DONE
            shown = tasks.state_in(last)
            return shown if isinstance(shown, TaskState) else None
        case Verdict.NOT_RUN:
            outcomes.revert_send(item)
        case Verdict.REFUSED:
            outcomes.record_refusal(item, pause, last)
    return None


def _apply_pause(item: JobItem, is_ours: bool) -> None:
    """The task is paused now. Where somebody else was first, that is what it was before we touched it."""
    item.status_seen = Status.PENDING
    if is_ours:
        item.step = Step.PAUSED
    else:
        item.status_before = Status.PENDING


def apply_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to what its task is now. Works for pending items and for sent ones that are due.

    The status is kept for the next send; a terminal state is final. Safe to repeat.
    """
    was_lost, refused = outcomes.may_be_lost(item), outcomes.has_refusal(item)
    item.refusal = ""
    if found is None:
        _task_not_found(item, was_lost)
        return
    seen, item.status_seen = item.status_seen, found.status
    ours = found.status_changed_by == user_id
    if found.status == Status.DEFERRED:
        if was_lost and ours and item.step != Step.RESTORING:
            item.state = State.DONE
        else:
            outcomes.finish(item, State.SKIPPED, Code.ALREADY_DEFERRED)
    elif found.status in outcomes.ENDED:
        outcomes.finish(item, State.SKIPPED, outcomes.ENDED[found.status])
    elif found.status == Status.IN_PROGRESS:
        _apply_in_progress(item, refused and seen == Status.IN_PROGRESS, changed=seen != found.status)
    else:
        if was_lost and ours and seen == Status.IN_PROGRESS and item.step == Step.NONE and not item.direct:
            item.step = Step.PAUSED  # the first half was applied
        _apply_paused_or_pending(item, refused and seen != Status.IN_PROGRESS, changed=seen != found.status)
    outcomes.record_changer(item, found)


def _apply_in_progress(item: JobItem, refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        _fail(item, Code(item.code))  # it is in progress again, which was the point
    elif refused and not item.direct:
        _fail(item, outcomes.refusal_of(item))
    else:
        # Whoever started it, and whether or not it could not be deferred directly: it takes both steps.
        item.step, item.direct = Step.NONE, False
        _try_again(item, changed)


def _apply_paused_or_pending(item: JobItem, defer_refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        if item.sends >= outcomes.MAX_SENDS + 2:
            _fail(item, Code.LEFT_PAUSED)
        else:
            item.state = State.PENDING
    elif item.step == Step.PAUSED:
        # One batch is one PHP process: what it remembered from before the pause may have refused the defer. So
        # a second, fresh request decides.
        if item.sends >= 2 and defer_refused:
            item.step, item.code = Step.RESTORING, outcomes.refusal_of(item)
            item.state = State.PENDING
        else:
            _try_again(item, changed)
    elif defer_refused:
        _fail(item, outcomes.refusal_of(item))
    else:
        _try_again(item, changed)


def _try_again(item: JobItem, changed: bool) -> None:
    """Back to pending: the reading proved that what was sent is not applied, `changed` by somebody else or not."""
    why = Code.CHANGING if changed else Code.REFUSED
    if item.sends < outcomes.MAX_SENDS:
        item.state = State.PENDING
    elif item.step == Step.PAUSED:
        item.step, item.code, item.state = Step.RESTORING, why, State.PENDING
    else:
        _fail(item, why)


def mark_garbled(item: JobItem) -> None:
    """The portal showed the task, and what it showed makes no sense. Who is not finished is to be read again later."""
    if item.state == State.PENDING and item.step == Step.NONE:
        outcomes.finish(item, State.FAILED, Code.REFUSED)  # it was not touched
    elif item.sends > outcomes.MAX_SENDS:
        _task_not_found(item, was_lost=True)
    else:
        item.sends += 1
    item.vendor_code = "garbled_task"


def is_refused_directly(item: JobItem, found: TaskState | None) -> bool:
    """Whether the portal refused to defer a task from in progress that is in progress indeed."""
    both = {item.status_seen, found.status if found else None}
    return item.direct and outcomes.has_refusal(item) and both == {Status.IN_PROGRESS}


def _task_not_found(item: JobItem, was_lost: bool) -> None:
    """The task is deleted, or the person may not see it any more."""
    if item.step != Step.NONE:
        _fail(item, Code.LEFT_PAUSED)
    elif was_lost:
        _fail(item, Code.GONE)  # we may have changed it, and nobody can tell us
    else:
        item.state, item.code = State.SKIPPED, Code.GONE


def _fail(item: JobItem, code: JobItem.Code) -> None:
    item.state, item.code = State.CANCELLED if code == Code.STOPPED else State.FAILED, code
    if code != Code.LEFT_PAUSED:
        item.step = Step.NONE
