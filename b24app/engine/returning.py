"""One task's way back: which commands come next, and what an answer or a reading means.

Pure decisions over one item, without database or network. A task is renewed, and started if it was in progress before;
both commands are sent together.

    6 --renew--> 2 --start--> 3

`renew` also reopens completed tasks. So we only renew a task that is still deferred and whose status last changed when
we deferred it. Any other state means that another user has changed the task ("overtaken").
"""

from datetime import timedelta

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.engine import outcomes
from b24app.engine.outcomes import Code, State, Step, Verdict
from b24app.models import JobItem

CLOCKS_DIFFER = timedelta(minutes=10)  # the most by which the portal's clock and ours may differ


def acts_for(item: JobItem) -> list[Act]:
    """The commands to send next for an item whose task was read."""
    if item.step == Step.RENEWED:
        return [Act.START]
    return [Act.RENEW, Act.START] if _was_in_progress(item) else [Act.RENEW]


def _was_in_progress(item: JobItem) -> bool:
    return item.status_before == Status.IN_PROGRESS


def apply_answer(item: JobItem, replies: dict[Act, Reply], user_id: int) -> None:
    """Move a sent item according to the answers to its commands; `user_id` is the person who acts.

    An item that stays sent must be read: at once if it has a refusal, otherwise after ENGINE_SETTLE_AFTER.
    """
    renew, start = replies.get(Act.RENEW), replies.get(Act.START)
    if isinstance(renew, Answer) and outcomes.may_be_ours(tasks.state_in(renew), user_id):
        item.step, item.status_seen = Step.RENEWED, Status.PENDING
    wanted = Status.IN_PROGRESS if _was_in_progress(item) else Status.PENDING
    last = start or replies[Act.RENEW]
    match outcomes.verdict(renew if start else None, last):
        case Verdict.APPLIED if outcomes.is_shown(item, last, wanted, user_id):
            item.state = State.DONE
        case Verdict.NOT_RUN:
            outcomes.revert_send(item)
        case Verdict.REFUSED:
            outcomes.record_refusal(item, renew if start else None, last)


def apply_reading(item: JobItem, found: TaskState | None, user_id: int) -> None:
    """Move an item according to its task, None if the task was not found. The item is pending, or sent and due.

    Safe to repeat. A final state stays final. A task that its person has returned after the app sent a command is
    returned by us, whatever the answer was.
    """
    was_lost, refused = outcomes.may_be_lost(item), outcomes.has_refusal(item)
    item.refusal = ""
    if found is None:
        outcomes.finish(item, State.SKIPPED, Code.GONE)
        return
    item.status_seen = found.status
    is_ours = outcomes.may_have_acted(item) and found.status_changed_by == user_id
    is_ours |= item.step == Step.RENEWED and not was_lost
    match found.status:
        case Status.DEFERRED:
            _apply_still_deferred(item, found, refused)
        case Status.AWAITING_CONTROL | Status.COMPLETED | Status.DECLINED:
            outcomes.finish(item, State.SKIPPED, outcomes.ENDED[found.status])
        case _ if not is_ours:
            outcomes.finish(item, State.SKIPPED, Code.AWAKE)
        case Status.IN_PROGRESS:
            item.state = State.DONE
        case _ if not _was_in_progress(item):
            item.state = State.DONE
        case _:
            _start_again(item, refused)
    outcomes.record_changer(item, found)


def _apply_still_deferred(item: JobItem, found: TaskState, refused: bool) -> None:
    if _is_another_deferral(item, found) or item.step == Step.RENEWED:
        outcomes.finish(item, State.SKIPPED, Code.DEFERRED_ANEW)
    elif refused:
        outcomes.finish(item, State.FAILED, outcomes.refusal_of(item))
    elif item.sends >= outcomes.MAX_SENDS:
        outcomes.finish(item, State.FAILED, Code.REFUSED)
    else:
        item.state = State.PENDING


def _is_another_deferral(item: JobItem, found: TaskState) -> bool:
    """True if the task was deferred again after us. If the time of our change is unknown, a much later one counts."""
    if item.returns is None or found.status_changed_at is None:
        return False
    if since := item.returns.status_changed_at:
        return found.status_changed_at != since
    return found.status_changed_at > item.returns.created_at + CLOCKS_DIFFER


def _start_again(item: JobItem, refused: bool) -> None:
    """The task is back but not in progress. A second request decides, as in deferring.py."""
    item.step = Step.RENEWED
    if (refused and item.sends >= 2) or item.sends >= outcomes.MAX_SENDS:
        item.state, item.code = State.DONE, Code.NOT_STARTED
    else:
        item.state = State.PENDING
