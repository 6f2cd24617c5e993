"""Which items of a job are next, and for what.

A task that another job of the portal has under way is left alone until that item has its outcome. Otherwise the second
job would read a status that the first one made, and would take it for the original one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.conf import settings
from django.db.models import Case, Q, QuerySet, When

from b24app.bitrix import tasks
from b24app.clock import shared_now
from b24app.models import Job, JobItem
from b24app.portals import access


class Turn(IntEnum):
    """What items wait for, in the order of precedence."""

    SETTLE = 1
    SEND = 2
    READ = 3


@dataclass(frozen=True)
class Next:
    """The items whose turn it is, and items that could be read after them. No items: nothing is due."""

    turn: Turn
    items: Sequence[JobItem]
    unread: Sequence[JobItem]


def next_items(job: Job, items: QuerySet[JobItem], fresh_for: float) -> Next:
    """Those of the job's `items` whose turn it is, half-done items first. One query.

    A refused item is read at once. An item whose answer was lost is read ENGINE_SETTLE_AFTER seconds later: the portal
    may still work on it before. A pending item is sent if its status was read less than `fresh_for` seconds ago. An
    untouched item waits while its task is under way elsewhere.
    """
    silent_since = shared_now() - timedelta(seconds=settings.ENGINE_SETTLE_AFTER)
    fresh_since = shared_now() - timedelta(seconds=fresh_for)
    is_due = Q(~Q(refusal="") | Q(sent_at__lte=silent_since), state=JobItem.State.SENT)
    is_fresh = Q(state=JobItem.State.PENDING, seen_at__gt=fresh_since)
    turn = Case(When(is_due, then=Turn.SETTLE), When(is_fresh, then=Turn.SEND), default=Turn.READ)
    is_untouched = Case(When(step=JobItem.Step.NONE, then=1), default=0)
    is_free = JobItem.UNDER_WAY | ~Q(task_id__in=under_way_elsewhere(job).values("task_id"))
    waiting = items.filter(is_due | Q(is_free, state=JobItem.State.PENDING)).annotate(turn=turn)
    found = list(waiting.order_by("turn", is_untouched, "id")[: tasks.PAGE_SIZE])
    first = Turn(found[0].turn) if found else Turn.READ
    mine = [item for item in found if item.turn == first]
    return Next(first, mine, [item for item in found[len(mine) :] if item.turn == Turn.READ])


def under_way_elsewhere(job: Job) -> QuerySet[JobItem]:
    """The items of other jobs whose tasks this job must leave alone for now.

    All jobs of one person wait for each other. A job waits for a colleague's job only while that one can continue by
    itself: a person who has lost access may never return. An item that is under way does not wait, so two jobs never
    wait for each other.
    """
    needs_a_person = Q(
        job__state=Job.State.WAITING, job__wait_reason__in=[*access.PERSONAL_REASONS, Job.WaitReason.ERROR]
    )
    others = JobItem.objects.under_way().filter(job__portal=job.portal_id).exclude(job__state=Job.State.FINISHED)
    return others.exclude(job=job.pk).exclude(needs_a_person & ~Q(job__person=job.person_id))
