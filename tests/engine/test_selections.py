"""Selections, collected by slices, and what deferring one will do."""

from datetime import timedelta

import pytest

from b24app import clock
from b24app.bitrix.errors import Refused, Unknown
from b24app.bitrix.tasks import Status, TaskFilter
from b24app.engine import selections, slices
from b24app.models import JobItem, Portal, Selection
from b24app.portals.lease import Lease
from tests.engine.work import work

Code = JobItem.Code


def test_all_matches_are_collected_and_frozen(person, tasks):
    ids = tasks(130)
    tasks(5, status=2)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selection.state == Selection.State.READY
    assert sorted(selection.tasks.values_list("task_id", flat=True)) == ids
    assert selections.forecast(selection) == selections.Forecast(130, 130, [])


def test_a_selection_of_full_pages_ends(person, tasks):
    tasks(100)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    work(person)
    selection.refresh_from_db()
    assert (selection.state, selection.collected) == (Selection.State.READY, 100)


def test_a_selection_stops_at_its_limit(person, tasks, monkeypatch):
    monkeypatch.setattr(selections, "MAX_TASKS", 70)
    tasks(130)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    work(person)
    selection.refresh_from_db()
    assert (selection.state, selection.collected) == (Selection.State.READY, 70)


def test_a_worker_reads_many_ticked_tasks(person, tasks, monkeypatch):
    monkeypatch.setattr(selections, "READ_AT_ONCE", 20)
    ids = tasks(60)
    selection = selections.select_ticked(person, [*ids, 999_999])
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selections.forecast(selection) == selections.Forecast(61, 60, [(Code.GONE, 1)])


def test_the_forecast_counts_skipped_tasks(person, tasks):
    selection = selections.select_ticked(
        person, tasks(2) + tasks(1, status=Status.PENDING) + tasks(3, status=6) + tasks(1, status=5)
    )
    assert selections.forecast(selection) == selections.Forecast(
        7, 3, [(Code.ALREADY_DEFERRED, 3), (Code.COMPLETED, 1)]
    )


def test_a_failing_selection_blocks_no_job(person, tasks, job_for, monkeypatch):
    job = job_for(tasks(1))
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(selections, "_collect_more", fail)
    work(person)
    job.refresh_from_db()
    selection.refresh_from_db()
    assert (job.done, selection.state, selection.failure_code) == (1, Selection.State.FAILED, "internal")


@pytest.mark.parametrize("error", [Unknown("timeout"), Refused("ERROR_CORE")])
def test_a_late_slice_leaves_the_selection_alone(person, monkeypatch, error):
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))

    def lose_the_lease(*_):
        Portal.objects.update(lease_until=None)
        Lease.acquire(person.portal_id)
        Selection.objects.update(state=Selection.State.READY)
        raise error

    monkeypatch.setattr(selections, "_collect_more", lose_the_lease)
    slices.run(person.portal_id)
    selection.refresh_from_db()
    assert (selection.state, selection.try_at) == (Selection.State.READY, None)


def test_pauses_after_lost_answers_grow(person, monkeypatch):
    def lose(*args):
        raise Unknown("timeout")

    monkeypatch.setattr(selections, "_collect_more", lose)
    selection = selections.select_matching(person, TaskFilter())
    lease = Lease.acquire(person.portal_id)
    pauses = []
    for age in (0, 40, 400):
        selection.created_at = clock.now() - timedelta(seconds=age)
        selections.advance(selection, lease)
        selection.refresh_from_db(fields=["try_at"])
        pauses.append(round((selection.try_at - clock.now()).total_seconds()))
    assert pauses == [5, 20, 200]
