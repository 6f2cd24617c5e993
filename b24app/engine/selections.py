"""Selections: the tasks that a person chose are read once and frozen, so the number they confirm is the number
processed."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from b24app import clock
from b24app.bitrix import tasks
from b24app.bitrix.client import Client
from b24app.bitrix.errors import BitrixError, NotRun, OperatingLimit, TooManyRequests, Unknown
from b24app.bitrix.tasks import Status, TaskFilter, TaskRow
from b24app.engine import outcomes
from b24app.models import JobItem, Person, Portal, SelectedTask, Selection
from b24app.portals import clients
from b24app.portals.lease import Lease, LeaseLost, is_neglected

logger = logging.getLogger(__name__)
MAX_TASKS = 5000  # of one selection, and so of one job
READ_AT_ONCE = 200  # ticked tasks; a page waits for these, a worker reads more
READ_PER_STEP = 500  # ticked tasks, by a worker in one request
LIFE = timedelta(hours=1)
OURS = "internal"  # the failure code if the cause is ours


@dataclass(frozen=True)
class Forecast:
    """What deferring a selection will do: how many tasks will be sent, how many skipped, and why."""

    total: int
    to_send: int
    skipped: list[tuple[JobItem.Code, int]]


def select_ticked(person: Person, task_ids: Sequence[int]) -> Selection:
    """A selection of tasks that were ticked one by one. A few are read now, more are left to a worker.

    Raises BitrixError if they cannot be read now; then nothing is stored.
    """
    wanted = list(dict.fromkeys(task_ids))[:MAX_TASKS]
    selection = Selection(person=person, wanted_ids=wanted, created_at=clock.now())
    rows = clients.ask(person, lambda client: tasks.read_listed(client, wanted)) if few(wanted) else []
    with transaction.atomic():
        selection.save()
        if few(wanted):
            _save_rows(selection, _every(wanted, rows), ended=True)
    return selection


def few(task_ids: Sequence[int]) -> bool:
    return len(task_ids) <= READ_AT_ONCE


def select_matching(person: Person, wanted: TaskFilter) -> Selection:
    """A selection of all tasks that match, without `wanted.excluded`, up to MAX_TASKS. A worker collects it."""
    return Selection.objects.create(person=person, filter=wanted.as_json(), created_at=clock.now())


def forecast(selection: Selection) -> Forecast:
    """The forecast of a ready selection, from the statuses read while it was collected. One query."""
    counts: Counter[JobItem.Code | None] = Counter()
    for status, number in selection.tasks.values_list("status").annotate(Count("id")):
        counts[_skip_code(status)] += number
    skipped = sorted((code, number) for code, number in counts.items() if code)
    return Forecast(counts.total(), counts[None], skipped)


def _skip_code(status: int | None) -> JobItem.Code | None:
    """Why a task of this status will be skipped; None if it will be sent."""
    if status is None:
        return JobItem.Code.GONE
    if status == Status.DEFERRED:
        return JobItem.Code.ALREADY_DEFERRED
    return outcomes.ENDED.get(status)


def collecting(now: datetime) -> QuerySet[Selection]:
    """Selections that a slice can collect now."""
    may_try = Q(try_at=None) | Q(try_at__lte=now)
    return Selection.objects.filter(may_try, state=Selection.State.COLLECTING, created_at__gt=now - LIFE)


def is_alive(selection: Selection) -> bool:
    return clock.now() - selection.created_at < LIFE


def is_stalled(selection: Selection) -> bool:
    """True if a selection is being collected and no worker has picked it up for longer than ENGINE_SWEEP_EVERY."""
    due = max(selection.created_at, selection.try_at or selection.created_at)
    return is_neglected(selection.person.portal, due, clock.now())


def advance(selection: Selection, lease: Lease) -> None:
    """Collect with one request. If an error stops it, save that on the selection. Raises LeaseLost."""
    try:
        clients.act(selection.person, lease, None, lambda client: _collect_more(selection, client, lease))
    except (TooManyRequests, OperatingLimit) as error:
        _save(selection, lease, try_at=_in(max(error.delay, 1.0)))
    except NotRun as error:
        _save(selection, lease, try_at=_in(max(error.delay, 1.0, _growing_pause(selection))))
    except Unknown:
        _save(selection, lease, try_at=_in(max(5.0, _growing_pause(selection))))
    except BitrixError as error:
        _save(selection, lease, state=Selection.State.FAILED, failure_code=error.code[:50])
    except LeaseLost:
        raise
    except Exception:
        # A failing selection must not block the jobs of its portal.
        logger.exception("selection %s cannot be collected", selection.pk)
        _save(selection, lease, state=Selection.State.FAILED, failure_code=OURS)


def _save(selection: Selection, lease: Lease, **changes: object) -> None:
    """Save what stopped the collecting. Raises LeaseLost."""
    with transaction.atomic():
        lease.renew()
        Selection.objects.filter(pk=selection.pk).update(**changes)


def _growing_pause(selection: Selection) -> float:
    """Half of the time in seconds for which the selection has been collected: the pauses grow like those of a job."""
    return (clock.now() - selection.created_at).total_seconds() / 2


def _in(seconds: float) -> datetime:
    return clock.now() + timedelta(seconds=seconds)


def _collect_more(selection: Selection, client: Client, lease: Lease) -> None:
    if selection.wanted_ids:
        wanted = selection.wanted_ids[selection.collected : selection.collected + READ_PER_STEP]
        rows = _every(wanted, tasks.read_listed(client, wanted))
        ended = selection.collected + len(rows) >= len(selection.wanted_ids)
    else:
        matching = TaskFilter.from_json(selection.filter)
        rows, ended = tasks.collect_after(client, matching, selection.after_id)
        selection.after_id = rows[-1].id if rows else selection.after_id
        excluded = set(matching.excluded)
        rows = [row for row in rows if row.id not in excluded][: MAX_TASKS - selection.collected]
        ended = ended or selection.collected + len(rows) >= MAX_TASKS
    with transaction.atomic():
        lease.renew()
        Portal.objects.filter(pk=lease.portal_id).update(last_slice_at=clock.now())
        _save_rows(selection, rows, ended)


def _every(wanted: Iterable[int], rows: Iterable[TaskRow]) -> list[TaskRow]:
    """A row for every ticked task, in that order. A task that the portal does not show gets status 0."""
    found = {row.id: row for row in rows}
    return [found.get(id) or TaskRow(id, "", 0, None, "", "") for id in wanted]


def _save_rows(selection: Selection, rows: Sequence[TaskRow], ended: bool) -> None:
    SelectedTask.objects.bulk_create(
        SelectedTask(selection=selection, task_id=row.id, title=row.title[:300], status=row.status or None)
        for row in rows
    )
    selection.collected += len(rows)
    if ended:
        selection.state = Selection.State.READY
    selection.save(update_fields=["state", "collected", "after_id"])
