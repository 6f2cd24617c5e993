"""What answers and readings prove about one task: shared by deferring and returning."""

from enum import Enum, auto

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.errors import AccessLost, BitrixError, MethodDenied, NotRun, Unknown
from b24app.bitrix.tasks import Status, TaskState, Unreadable
from b24app.models import JobItem

MAX_SENDS = 4  # of one item; somebody else keeps changing a task that needs more
UNSEEN = "unseen"  # in place of a refusal: a success that did not show what the task is now
# The codes by which a portal says "not allowed" of a task that is there and has the right status. Others, such as
# 1048584 of a validator, are refusals for a reason that we do not know.
NOT_ALLOWED = frozenset({"1048582", "0", "ERROR_CORE", "ACCESS_DENIED"})
State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
ENDED: dict[int, JobItem.Code] = {
    Status.AWAITING_CONTROL: Code.AWAITING_CONTROL,
    Status.COMPLETED: Code.COMPLETED,
    Status.DECLINED: Code.DECLINED,
}
# Outcomes that somebody else is the reason of.
CHANGED_BY_OTHERS = {*ENDED.values(), Code.ALREADY_DEFERRED, Code.CHANGING, Code.AWAKE, Code.DEFERRED_ANEW}


def may_be_ours(shown: TaskState | Unreadable | None, user_id: int) -> bool:
    """Whether a success does not show that somebody else has changed the status: what is so already succeeds too."""
    return not isinstance(shown, TaskState) or shown.status_changed_by in (None, user_id)


class Verdict(Enum):
    """What the answers to one or two acts in a row come to."""

    APPLIED = auto()  # the last one succeeded
    NOT_RUN = auto()  # it may be sent again
    REFUSED = auto()
    LOST = auto()  # only a reading tells


def verdict(first: Reply | None, last: Reply) -> Verdict:
    """What `last` comes to, and the act before it, if it takes one."""
    if isinstance(last, Answer):
        return Verdict.APPLIED
    if isinstance(last, Unknown) or isinstance(first, Unknown):
        return Verdict.LOST
    if _may_run_later(first) or (_may_run_later(last) and not _is_refused(first)):
        return Verdict.NOT_RUN  # where the first act did not run, the refusal of the last one means nothing
    return Verdict.REFUSED


def _may_run_later(reply: Reply | None) -> bool:
    return isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, MethodDenied)


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


def revert_send(item: JobItem) -> None:
    """What was sent did not run: the item was never sent."""
    item.state = State.PENDING
    item.sends -= 1
    if not item.sends and item.step == Step.NONE and item.status_before == item.status_seen:
        item.status_before = None  # nothing was touched yet


def record_refusal(item: JobItem, first: Reply | None, last: Reply) -> None:
    """Keep what the portal called it; the next reading understands it.

    Where the first act was refused, the last one failed for that alone.
    """
    reply = first if _is_refused(first) else last
    code = reply.code if isinstance(reply, BitrixError) else ""
    item.refusal, item.vendor_code = code[:100] or "refused", code[:100]


def refusal_of(item: JobItem) -> JobItem.Code:
    """What a refusal that a reading could not explain means."""
    return Code.NOT_PERMITTED if item.vendor_code.upper() in NOT_ALLOWED else Code.REFUSED


def has_refusal(item: JobItem) -> bool:
    """Whether the answer to what was sent last was a refusal that is still to be understood."""
    return item.refusal not in ("", UNSEEN)


def may_be_lost(item: JobItem) -> bool:
    """Whether an item was sent and nothing is known of what came of it."""
    return item.state == State.SENT and item.refusal in ("", UNSEEN)


def finish(item: JobItem, state: JobItem.State, code: JobItem.Code) -> None:
    """The item's outcome, and why; nothing of it is half done."""
    item.state, item.step, item.code = state, Step.NONE, code


def record_changer(item: JobItem, found: TaskState) -> None:
    """Who changed the task and when, or who may where our person may not, for the sentence that the item gets."""
    if item.code == Code.NOT_PERMITTED:
        item.changed_by = found.creator[:200]
    elif item.code in CHANGED_BY_OTHERS:
        item.changed_at, item.changed_by = found.status_changed_at, found.changed_by[:200]
