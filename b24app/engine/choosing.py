"""Which items of a job are next, and for what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.conf import settings
from django.db.models import Case, Q, QuerySet, When

from b24app.bitrix import tasks
from b24app.clock import shared_now
from b24app.models import JobItem


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


def next_items(items: QuerySet[JobItem], fresh_for: float) -> Next:
    """The items whose turn it is, half-done items first. One query.

    A refused item is read at once. An item whose answer was lost is read ENGINE_SETTLE_AFTER seconds later: the portal
    may still work on it before. A pending item is sent if its status was read less than `fresh_for` seconds ago.
    """
    silent_since = shared_now() - timedelta(seconds=settings.ENGINE_SETTLE_AFTER)
    fresh_since = shared_now() - timedelta(seconds=fresh_for)
    is_due = Q(~Q(refusal="") | Q(sent_at__lte=silent_since), state=JobItem.State.SENT)
    is_fresh = Q(state=JobItem.State.PENDING, seen_at__gt=fresh_since)
    turn = Case(When(is_due, then=Turn.SETTLE), When(is_fresh, then=Turn.SEND), default=Turn.READ)
    is_untouched = Case(When(step=JobItem.Step.NONE, then=1), default=0)
    waiting = items.filter(is_due | Q(state=JobItem.State.PENDING)).annotate(turn=turn)
    found = list(waiting.order_by("turn", is_untouched, "id")[: tasks.PAGE_SIZE])
    first = Turn(found[0].turn) if found else Turn.READ
    mine = [item for item in found if item.turn == first]
    return Next(first, mine, [item for item in found[len(mine) :] if item.turn == Turn.READ])
