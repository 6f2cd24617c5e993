"""What answers and readings prove about one task: shared by deferring and returning."""

from enum import Enum, auto

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.errors import AccessLost, BitrixError, MethodDenied, NotRun, Unknown
from b24app.bitrix.tasks import Status, TaskState, Unreadable
from b24app.models import JobItem

MAX_SENDS = 4  # of one item; if it needs more, other users keep changing the task
UNSEEN = "unseen"  # instead of a refusal code: a success that did not show the task after the change
# Codes that mean "not allowed" for a task that exists and has the right status. Other codes, such as 1048584 of a
# validator, are refusals for an unknown reason.
NOT_ALLOWED = frozenset({"1048582", "0", "ERROR_CORE", "ACCESS_DENIED"})

State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code

# The statuses in which a task can neither be deferred nor returned, and the outcome of its item.
ENDED: dict[int, JobItem.Code] = {
    Status.AWAITING_CONTROL: Code.AWAITING_CONTROL,
    Status.COMPLETED: Code.COMPLETED,
    Status.DECLINED: Code.DECLINED,
}
# Outcomes caused by another user.
CHANGED_BY_OTHERS = {*ENDED.values(), Code.ALREADY_DEFERRED, Code.CHANGING, Code.AWAKE, Code.DEFERRED_ANEW}


def may_be_ours(shown: TaskState | Unreadable | None, user_id: int) -> bool:
    """False if the answer shows that another user changed the status. (A call that changes nothing also succeeds.)"""
    return not isinstance(shown, TaskState) or shown.status_changed_by in (None, user_id)


class Verdict(Enum):
    """What the answers to the one or two commands of a task mean together."""

    APPLIED = auto()  # the last command succeeded
    NOT_RUN = auto()  # it can be sent again
    REFUSED = auto()
    LOST = auto()  # only reading the task tells


def verdict(first: Reply | None, last: Reply) -> Verdict:
    """Combine the answers to the two commands of one task into one verdict. `first` is None for a single command."""
    if isinstance(last, Answer):
        return Verdict.APPLIED
    if isinstance(last, Unknown) or isinstance(first, Unknown):
        return Verdict.LOST
    if _may_run_later(first) or (_may_run_later(last) and not _is_refused(first)):
        return Verdict.NOT_RUN  # if the first command did not run, the refusal of the last one means nothing
    return Verdict.REFUSED


def _may_run_later(reply: Reply | None) -> bool:
    return isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, MethodDenied)


def _is_refused(reply: Reply | None) -> bool:
    return isinstance(reply, BitrixError) and not _may_run_later(reply)


def is_shown(item: JobItem, answer: Reply, status: int, user_id: int) -> bool:
    """True if `answer` is a success whose task has this status because of us, or that shows no task.

    Otherwise the item must be read; its `refusal` then says why.
    """
    if not isinstance(answer, Answer):
        return False
    if answer.result is None:  # the legacy dialect never shows the task: reading it tells who changed it
        item.refusal = UNSEEN
        return False
    found = tasks.state_in(answer)
    if found is None:
        return True
    if not isinstance(found, TaskState) or found.status != status:
        item.refusal = UNSEEN  # garbled, or as it was before: one batch caches what it has read
        return False
    if not may_be_ours(found, user_id):
        item.refusal = "not_ours"  # the call changed nothing: another user was first
        return False
    return True


def revert_send(item: JobItem) -> None:
    """The command did not run: restore the item as if it had never been sent."""
    item.state = State.PENDING
    item.sends -= 1
    if not item.sends and item.step == Step.NONE and item.status_before == item.status_seen:
        item.status_before = None  # the app has not changed the task yet


def record_refusal(item: JobItem, first: Reply | None, last: Reply) -> None:
    """Keep the code of the refusal; reading the task will explain it.

    If the first command was refused, the last one failed only because of that.
    """
    reply = first if _is_refused(first) else last
    code = reply.code if isinstance(reply, BitrixError) else ""
    item.refusal, item.vendor_code = code[:100] or "refused", code[:100]


def refusal_of(item: JobItem) -> JobItem.Code:
    """The outcome of a refusal that reading the task could not explain."""
    return Code.NOT_PERMITTED if item.vendor_code.upper() in NOT_ALLOWED else Code.REFUSED


def has_refusal(item: JobItem) -> bool:
    """True if the last answer was a refusal that no reading has explained yet."""
    return item.refusal not in ("", UNSEEN)


def may_have_acted(item: JobItem) -> bool:
    """True if the app has sent a command for the task of this item, or for that of the item that it continues.

    A refusal does not prove that nothing was changed: a portal whose event handler fails says no after the update. Only
    an answer that proves that the command did not run takes the send back.
    """
    return item.sends > 0 or item.step != Step.NONE


def may_be_lost(item: JobItem) -> bool:
    """True if the item was sent and its effect is unknown."""
    return item.state == State.SENT and item.refusal in ("", UNSEEN)


def finish(item: JobItem, state: JobItem.State, code: JobItem.Code | None = None) -> None:
    """Set the final state of the item and the reason, if there is one. No step of it is half done."""
    item.state, item.step, item.code = state, Step.NONE, code or ""


def record_changer(item: JobItem, found: TaskState) -> None:
    """Note for the screen who changed the task, and when; or the creator, if the person lacks the right."""
    if item.code == Code.NOT_PERMITTED:
        item.changed_by = found.creator[:200]
    elif item.code in CHANGED_BY_OTHERS:
        item.changed_at, item.changed_by = found.status_changed_at, found.changed_by[:200]
