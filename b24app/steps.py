"""One task's way to Deferred: which acts come next, and what an answer or a reading means for it.

Pure decisions over one item, without database or network. A task in progress is deferred in two steps, pause
then defer, both sent together, or directly where the portal allows that; every answer that does not settle the
matter is followed by a reading.

    pending --sent--> answered: done | to be read (refusal, no task shown) | pending (nothing ran) | lost
    to be read, lost --reading--> done | skipped | failed | pending (again, or to be started again)
"""

from enum import Enum, auto

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer
from b24app.bitrix.errors import AccessLost, BitrixError, Denied, NotRun, Unknown
from b24app.bitrix.tasks import Act, TaskState, Unreadable
from b24app.models import JobItem

MAX_SENDS = 4  # of one item; somebody else keeps changing a task that needs more

UNSEEN = "unseen"  # in place of a refusal: a success that did not show what the task is now

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
# Outcomes that somebody else is the reason of.
CHANGED_BY_OTHERS = {*ENDED.values(), Code.ALREADY_DEFERRED, Code.CHANGING, Code.AWAKE, Code.DEFERRED_ANEW}


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
        _take_pause(item, is_ours=may_be_ours(tasks.state_in(pause), user_id))
    match upshot(pause, last):
        case Upshot.APPLIED if item.step == Step.RESTORING:
            _fail(item, Code(item.code))
        case Upshot.APPLIED if is_shown(item, last, tasks.DEFERRED, user_id):
            item.state = State.DONE
            shown = tasks.state_in(last)
            return shown if isinstance(shown, TaskState) else None
        case Upshot.NOT_RUN:
            take_back(item)
        case Upshot.REFUSED:
            note_refusal(item, pause, last)
    return None


def _take_pause(item: JobItem, is_ours: bool) -> None:
    """The task is paused now. Where somebody else was first, that is what it was before we touched it."""
    item.status_seen = tasks.PENDING
    if is_ours:
        item.step = Step.PAUSED
    else:
        item.status_before = tasks.PENDING


def may_be_ours(shown: TaskState | Unreadable | None, user_id: int) -> bool:
    """Whether a success does not show that somebody else has changed the status: what is so already succeeds too."""
    return not isinstance(shown, TaskState) or shown.status_changed_by in (None, user_id)


class Upshot(Enum):
    """What the answers to one or two acts in a row come to."""

    APPLIED = auto()  # the last one succeeded
    NOT_RUN = auto()  # it may be sent again
    REFUSED = auto()
    LOST = auto()  # only a reading tells


def upshot(first: Reply | None, last: Reply) -> Upshot:
    """What `last` comes to, and the act before it, if it takes one."""
    if isinstance(last, Answer):
        return Upshot.APPLIED
    if isinstance(last, Unknown) or isinstance(first, Unknown):
        return Upshot.LOST
    if _may_run_later(first) or (_may_run_later(last) and not _is_refused(first)):
        return Upshot.NOT_RUN  # where the first act did not run, the refusal of the last one means nothing
    return Upshot.REFUSED


def _may_run_later(reply: Reply | None) -> bool:
    return isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, Denied)


def _is_refused(reply: Reply | None) -> bool:
    return isinstance(reply, BitrixError) and not _may_run_later(reply)


def is_shown(item: JobItem, answer: Reply, status: int, user_id: int) -> bool:
    """Whether a success shows its task with this status, by our doing, or no task at all; else it is to be read."""
    if not isinstance(answer, Answer):
        return False
    if answer.result is None:  # the legacy dialect says no more than that: whose doing it was, a reading tells
        item.refusal = UNSEEN
        return False
    found = tasks.state_in(answer)
    if found is None:
        return True
    if not isinstance(found, TaskState) or found.status != status:
        item.refusal = UNSEEN  # garbled, or from before it: a batch remembers what it has read
        return False
    if not may_be_ours(found, user_id):
        item.refusal = "not_ours"  # a success that changed nothing: somebody else was there first
        return False
    return True


def take_back(item: JobItem) -> None:
    """What was sent did not run: the item was never sent."""
    item.state = State.PENDING
    item.sends -= 1
    if not item.sends and item.step == Step.NONE and item.status_before == item.status_seen:
        item.status_before = None  # nothing was touched yet


def note_refusal(item: JobItem, first: Reply | None, last: Reply) -> None:
    """Keep what the portal called it; the next reading understands it.

    Where the first act was refused, the last one failed for that alone.
    """
    reply = first if _is_refused(first) else last
    code = reply.code if isinstance(reply, BitrixError) else ""
    item.refusal, item.vendor_code = code[:100] or "refused", code[:100]


def take_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to what its task is now. Works for pending items and for sent ones that are due.

    The status is kept for the next send; a terminal state is final. Safe to repeat.
    """
    was_lost, refused = may_be_lost(item), has_refusal(item)
    item.refusal = ""
    if found is None:
        _lose_sight(item, was_lost)
        return
    seen, item.status_seen = item.status_seen, found.status
    ours = found.status_changed_by == user_id
    if found.status == tasks.DEFERRED:
        if was_lost and ours and item.step != Step.RESTORING:
            item.state = State.DONE
        else:
            end(item, State.SKIPPED, Code.ALREADY_DEFERRED)
    elif found.status in ENDED:
        end(item, State.SKIPPED, ENDED[found.status])
    elif found.status == tasks.IN_PROGRESS:
        _take_in_progress(item, refused and seen == tasks.IN_PROGRESS, changed=seen != found.status)
    else:
        if was_lost and ours and seen == tasks.IN_PROGRESS and item.step == Step.NONE and not item.directly:
            item.step = Step.PAUSED  # the first half was applied
        _take_paused_or_pending(item, refused and seen != tasks.IN_PROGRESS, changed=seen != found.status)
    note_who(item, found)


def _take_in_progress(item: JobItem, refused: bool, changed: bool) -> None:
    if item.step == Step.RESTORING:
        _fail(item, Code(item.code))  # it is in progress again, which was the point
    elif refused and not item.directly:
        _fail(item, refusal_of(item))
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
            item.step, item.code = Step.RESTORING, refusal_of(item)
            item.state = State.PENDING
        else:
            _try_again(item, changed)
    elif defer_refused:
        _fail(item, refusal_of(item))
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


def refusal_of(item: JobItem) -> JobItem.Code:
    """What a refusal that a reading could not explain means."""
    return Code.NOT_PERMITTED if item.vendor_code.upper() in NOT_ALLOWED else Code.REFUSED


def take_nonsense(item: JobItem) -> None:
    """The portal showed the task, and what it showed makes no sense. Who is not finished is to be read again later."""
    if item.state == State.PENDING and item.step == Step.NONE:
        end(item, State.FAILED, Code.REFUSED)  # it was not touched
    elif item.sends > MAX_SENDS:
        _lose_sight(item, was_lost=True)
    else:
        item.sends += 1
    item.vendor_code = "garbled_task"


def has_refusal(item: JobItem) -> bool:
    """Whether the answer to what was sent last was a refusal that is still to be understood."""
    return item.refusal not in ("", UNSEEN)


def is_refused_directly(item: JobItem, found: TaskState | None) -> bool:
    """Whether the portal refused to defer a task from in progress that is in progress indeed."""
    both = {item.status_seen, found.status if found else None}
    return item.directly and has_refusal(item) and both == {tasks.IN_PROGRESS}


def may_be_lost(item: JobItem) -> bool:
    """Whether an item was sent and nothing is known of what came of it."""
    return item.state == State.SENT and item.refusal in ("", UNSEEN)


def _lose_sight(item: JobItem, was_lost: bool) -> None:
    """The task is deleted, or the person may not see it any more."""
    if item.step != Step.NONE:
        _fail(item, Code.LEFT_PAUSED)
    elif was_lost:
        _fail(item, Code.GONE)  # we may have changed it, and nobody can tell us
    else:
        item.state, item.code = State.SKIPPED, Code.GONE


def end(item: JobItem, state: JobItem.State, code: JobItem.Code) -> None:
    """The item's outcome, and why; nothing of it is half done."""
    item.state, item.step, item.code = state, Step.NONE, code


def note_who(item: JobItem, found: TaskState) -> None:
    """Who changed the task and when, or who may where our person may not, for the sentence that the item gets."""
    if item.code == Code.NOT_PERMITTED:
        item.who = found.creator[:200]
    elif item.code in CHANGED_BY_OTHERS:
        item.changed_at, item.who = found.status_changed_at, found.changed_by[:200]


def _fail(item: JobItem, code: JobItem.Code) -> None:
    item.state, item.code = State.CANCELLED if code == Code.STOPPED else State.FAILED, code
    if code != Code.LEFT_PAUSED:
        item.step = Step.NONE
