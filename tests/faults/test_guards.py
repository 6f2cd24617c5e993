"""Guards whose loss no single fault reveals. bin/mutants.py removes each one and expects its test to fail."""

import pytest

from b24app import clock
from b24app.bitrix import tasks as wire
from b24app.models import Deferral, Job, JobItem, Portal
from b24app.worker import messages
from tests.conftest import SERVERS
from tests.faults.engine import outcomes


def test_the_intent_is_committed_first(engine, worker, monkeypatch):
    job = engine.defer(worker, engine.tasks(worker, 12))
    send, seen = wire.send, []

    def watch(client, acts):
        acts = list(acts)
        sent = JobItem.objects.filter(job=job, state=JobItem.State.SENT).values_list("task_id", flat=True)
        seen.append({task for task, _ in acts} <= set(sent))
        return send(client, acts)

    monkeypatch.setattr(wire, "send", watch)
    engine.work(worker)
    assert len(seen) >= 2
    assert all(seen)


def test_an_old_status_is_read_again(engine, worker):
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    in_two_minutes = clock.now().timestamp() + 120
    Portal.objects.update(operating={"tasks.task.defer": [480.0, in_two_minutes]})
    engine.work(worker, until=lambda: Job.objects.get(pk=job.pk).state == Job.State.WAITING)
    assert job.items.get().status_seen == 3
    engine.sandbox.change_task("acme", task, status=2)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 1}
    assert Deferral.objects.get().previous_status == 2


def test_the_token_compare_takes_constant_time(worker, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "b24app.models.portal.compare_digest", lambda one, other: compared.append((one, other)) or one == other
    )
    portal = Portal.objects.get()
    portal.learn_application_token("the-token", clock.now())
    assert not portal.knows_application_token("another", clock.now())
    assert compared == [(b"the-token", b"another")]


def test_a_sweep_enqueues_portals_with_work(engine, worker, monkeypatch):
    hinted = []
    monkeypatch.setattr(messages, "enqueue", hinted.append)
    messages.sweep()
    assert hinted == []
    engine.defer(worker, engine.tasks(worker, 1))
    messages.sweep()
    assert hinted == [worker.portal_id]


PLAN = """
from django.db import connection
from b24app import clock
from b24app.models import Job, Person, Portal
portal = Portal.objects.create(member_id="m")
person = Person.objects.create(portal=portal, user_id=1)
common = {"portal": portal, "person": person, "total": 1, "created_at": clock.now()}
Job.objects.bulk_create(Job(key=str(number), state="finished", **common) for number in range(20_000))
Job.objects.create(key="due", **common)
with connection.cursor() as cursor:
    cursor.execute("analyze")
print(Job.objects.runnable(clock.now()).explain())
"""


@pytest.mark.parametrize("stack", [SERVERS], indirect=True)
@pytest.mark.postgres
@pytest.mark.redis
def test_due_jobs_are_found_by_an_index(app):
    plan = app.python(PLAN)
    assert "unfinished_jobs" in plan
    assert "Seq Scan on defer_job" not in plan
