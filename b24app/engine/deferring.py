"""One task's way to Deferred: which commands come next, and what an answer or a reading means.

Pure decisions over one item, without database or network. A task in progress needs two commands, pause and defer, sent
together; some portals defer it directly. If an answer does not decide the outcome, the task is read.

    pending --sent--> answered: done | to be read (refusal, no task shown) | pending (nothing ran) | lost
    to be read, lost --reading--> done | skipped | failed | pending (send again, or start it again)
"""

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.engine import outcomes
from b24app.engine.outcomes import Code, State, Step, Verdict
from b24app.models import JobItem


def acts_for(item: JobItem) -> list[Act]:
    """The commands to send next for an item whose status was read."""
    if item.step == Step.RESTORING:
        return [Act.START]
    if item.status_seen == Status.IN_PROGRESS and not item.direct:
        return [Act.PAUSE, Act.DEFER]
    return [Act.DEFER]


def apply_answer(item: JobItem, replies: dict[Act, Reply], user_id: int) -> TaskState | None:
    """Move a sent item according to the answers to its commands; `user_id` is the person who acts.

    Return the task as the portal showed it after deferring it; None if the portal did not show it or the item is not
    done. An item that stays sent must be read: at once if it has a refusal, otherwise after ENGINE_SETTLE_AFTER.
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
    """The task is paused now. If another user paused it first, paused is also its original status."""
    item.status_seen = Status.PENDING
    if is_ours:
        item.step = Step.PAUSED
    else:
        item.status_before = Status.PENDING


def apply_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to its task, None if the task was not found. The item is pending, or sent and due.

    If the app has sent a command for the task, and its person changed the status since the last reading, the change is
    ours, whatever the answer was. (An item whose task was seen as deferred has ended.) A final state stays final. Safe
    to repeat.
    """
    was_lost, refused = outcomes.may_be_lost(item), outcomes.has_refusal(item)
    is_ours = outcomes.may_have_acted(item) and found is not None and found.status_changed_by == user_id
    item.refusal = ""
    if found is None:
        _task_not_found(item, was_lost)
        return
    seen, item.status_seen, changed = item.status_seen, found.status, item.status_seen != found.status
    match found.status:
        case Status.DEFERRED if is_ours:
            item.status_before = item.status_before or seen
            outcomes.finish(item, State.DONE)
        case Status.DEFERRED:
            outcomes.finish(item, State.SKIPPED, Code.ALREADY_DEFERRED)
        case Status.AWAITING_CONTROL | Status.COMPLETED | Status.DECLINED:
            outcomes.finish(item, State.SKIPPED, outcomes.ENDED[found.status])
        case Status.IN_PROGRESS:
            _apply_in_progress(item, refused and seen == Status.IN_PROGRESS, changed)
        case _:
            if is_ours and seen == Status.IN_PROGRESS and item.step == Step.NONE and not item.direct:
                item.step = Step.PAUSED  # the portal applied the pause and not the defer
                item.status_before = item.status_before or seen
            _apply_paused_or_pending(item, refused and seen != Status.IN_PROGRESS, changed)
    outcomes.record_changer(item, found)


def _apply_in_progress(item: JobItem, refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        _fail(item, Code(item.code))  # restored: it is in progress again
    elif refused and not item.direct:
        _fail(item, outcomes.refusal_of(item))
    else:
        # Another user may have started it, or direct defer was refused: it needs pause and defer.
        item.step, item.direct = Step.NONE, False
        _try_again(item, changed)


def _apply_paused_or_pending(item: JobItem, defer_refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        if item.sends >= outcomes.MAX_SENDS + 2:
            _fail(item, Code.LEFT_PAUSED)
        else:
            item.state = State.PENDING
    elif item.step == Step.PAUSED:
        # The portal runs one batch in one PHP process. A cache filled before the pause may have refused the defer, so a
        # second request decides.
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
    """The reading proved that the commands had no effect: send them again, up to MAX_SENDS times.

    `changed`: another user changed the status in between. If we have not paused the task, its original status is the
    one that the next send finds.
    """
    code = Code.CHANGING if changed else Code.REFUSED
    if item.sends < outcomes.MAX_SENDS:
        item.state = State.PENDING
        item.status_before = item.status_before if item.step == Step.PAUSED else None
    elif item.step == Step.PAUSED:
        item.step, item.code, item.state = Step.RESTORING, code, State.PENDING
    else:
        _fail(item, code)


def mark_garbled(item: JobItem) -> None:
    """The portal returned a row for this task that cannot be parsed.

    Fail an untouched item; read any other again later.
    """
    if not outcomes.may_have_acted(item):
        fail_garbled(item)
    elif item.sends > outcomes.MAX_SENDS:
        _task_not_found(item, was_lost=True)
    else:
        item.sends += 1
    item.vendor_code = "garbled_task"


def fail_garbled(item: JobItem) -> None:
    """Fail an item whose task the app has left as it was: the portal's answer about it cannot be parsed."""
    outcomes.finish(item, State.FAILED, Code.REFUSED)
    item.vendor_code = "garbled_task"


def is_refused_directly(item: JobItem, found: TaskState | None) -> bool:
    """True if the portal refused to defer a task directly, and the task is in progress as expected."""
    both = {item.status_seen, found.status if found else None}
    return item.direct and outcomes.has_refusal(item) and both == {Status.IN_PROGRESS}


def _task_not_found(item: JobItem, was_lost: bool) -> None:
    """The task was deleted, or the person lost the right to see it."""
    if item.step != Step.NONE:
        _fail(item, Code.LEFT_PAUSED)
    elif was_lost:
        _fail(item, Code.GONE)  # the app may have changed it; it cannot find out
    else:
        item.state, item.code = State.SKIPPED, Code.GONE


def _fail(item: JobItem, code: JobItem.Code) -> None:
    item.state, item.code = State.CANCELLED if code == Code.STOPPED else State.FAILED, code
    if code != Code.LEFT_PAUSED:
        item.step = Step.NONE
