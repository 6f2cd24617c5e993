"""Workers that are killed, stopped, or run twice; brokers and databases that go away."""

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.faults.deployment import WORKERS, is_lost, tasks_of, touches
from tests.processes import wait_until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.workers,
]

RECONNECT = 8.0  # seconds; Celery's pause between attempts to reach its broker does not scale


# -- F26, F28: killed at every point -----------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["claimed", "answered", "saving", "saved"])
def test_f26_a_kill_at_any_point_loses_nothing(deployment, bob, point):
    deployment.plan(point, *(["pass"] if point in ("saving", "saved") else []), "0")
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 20))
    deployment.wait_for_plans()
    deployment.finish()
    assert len(deployment.dead()) == 1
    assert deployment.outcomes(job) == {("done", ""): 20}


def test_f26_f28_a_kill_during_a_batch_loses_nothing(deployment, bob):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 20))
    deployment.sandbox.fault("batch", "late", seconds=40 / deployment.scale)
    deployment.plan("claimed", "1")
    job = confirm()
    deployment.wait_for_plans()
    deployment.finish()
    assert len(deployment.dead()) == 1
    assert deployment.outcomes(job) == {("done", ""): 20}


# -- F16, F27, F34: slow answers, deploys, a stopped worker ----------------------------------------------------


@pytest.mark.parametrize("applied", ["everything", "a prefix", "nothing"])
def test_f16_a_timed_out_batch_is_read(deployment, bob, applied):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 20))
    if applied == "everything":
        deployment.sandbox.fault("batch", "late", seconds=100 / deployment.scale)
    elif applied == "a prefix":
        deployment.sandbox.fault("batch/*", "cut", skip=7)
    else:
        deployment.sandbox.fault("batch", "cut")
    job = confirm()
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 20}
    asked = deployment.sandbox.requests("acme")
    lost = next(request for request in asked if is_lost(request, 80 / deployment.scale))
    again = next(request for request in asked if request["id"] > lost["id"] and touches(request, tasks_of(lost)))
    assert again["method"] == "tasks.task.list"
    # The app reads 75 s after its commit, and it committed before it sent.
    assert again["at"] - lost["at"] >= 65 / deployment.scale


def test_f17_a_broken_connection_costs_only_time(deployment, bob):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 60))
    deployment.sandbox.fault("batch", "drop")
    deployment.sandbox.fault("tasks.task.list", "cut", skip=1)
    deployment.sandbox.fault("tasks.task.pause", "cut", skip=25)
    job = confirm()
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 60}


def test_f27_a_deploy_ends_the_slice(deployment, bob):
    deployment.sandbox.turn({"cost.tasks.task.defer": 0.01, "cost.tasks.task.pause": 0.01})
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 60))
    wait_until(lambda: deployment.batches(), what="the first batch")
    for name in WORKERS:
        deployment.signal(name, signal.SIGTERM)
    wait_until(lambda: set(deployment.dead()) == set(WORKERS), 20, "the workers to end")
    assert deployment.app.value("select count(*) from defer_jobitem where state = 'sent' and refusal = ''") == 0
    assert deployment.app.value("select count(*) from defer_portal where lease_owner is not null") == 0
    deployment.revive()
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 60}


@pytest.mark.parametrize("point", ["claimed", "reserved", "answered", "saving"])
def test_f34_a_frozen_worker_writes_nothing(deployment, bob, point):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 20))
    deployment.plan(point, *(["pass"] if point in ("reserved", "saving") else []), "stop")  # the reading comes first
    job = confirm()
    (frozen,) = wait_until(deployment.stopped, what="a worker to be stopped")
    # A worker stopped while saving locks the portal's row until the database ends its transaction.
    wait_until(lambda: deployment.app.value("select count(*) from defer_job where state = 'finished'"), 60, "the job")
    deployment.signal(frozen, signal.SIGCONT)
    time.sleep(1)  # time in which the continued worker could write
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 20}


# -- F29, F30: Redis ---------------------------------------------------------------------------------------------


def test_f29_a_lost_redis_costs_only_time(deployment, bob):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 20))
    deployment.wire.cut()
    deployment.redis.flushdb()
    job = confirm()  # the page can still start jobs
    assert deployment.app.value("select state from defer_job") == "queued"
    time.sleep(1.5)
    deployment.wire.mend()
    took = deployment.finish()
    assert took < 60 / deployment.scale + RECONNECT
    assert deployment.outcomes(job) == {("done", ""): 20}


def test_f29_a_wiped_message_costs_a_minute(deployment, bob):
    confirm = deployment.ask("acme", bob, deployment.tasks("acme", bob, 10))
    for name in WORKERS:
        deployment.signal(name, signal.SIGSTOP)
    wait_until(lambda: not deployment.consumers(), what="no worker to wait at Redis")
    job = confirm()
    assert any(
        b"run_slice" in message for message in deployment.redis.lrange("celery", 0, -1)
    )  # and perhaps one of a beat
    deployment.redis.flushdb()
    for name in WORKERS:
        deployment.signal(name, signal.SIGCONT)
    wait_until(lambda: deployment.batches(), 90 / deployment.scale, "the first batch")
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 10}


def test_f29_an_emptied_broker_costs_only_time(deployment, bob):
    deployment.sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 80))
    for _ in range(4):
        deployment.redis.flushdb()
        deployment.wire.break_connections()
        time.sleep(0.5)
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 80}


# -- F31, F32: PostgreSQL ------------------------------------------------------------------------------------------


def test_f31_cut_connections_lose_nothing(deployment, bob):
    deployment.sandbox.turn({"cost.tasks.task.defer": 0.01, "cost.tasks.task.pause": 0.01})
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 80))
    for _ in range(12):
        deployment.cut_database()
        time.sleep(0.2)
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 80}


def test_f32_a_lock_delays_only_its_job(deployment, bob):
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 20))
    with psycopg.connect(deployment.app.database_url) as connection:
        connection.execute("lock table defer_jobitem in access exclusive mode")
        time.sleep(30 / deployment.scale)
        connection.rollback()
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 20}


# -- F33, F35, F36: repetitions ---------------------------------------------------------------------------------


def test_f33_repeated_messages_do_nothing_twice(deployment, bob):
    send = "from b24app.worker.messages import run_slice, sweep\nfrom b24app.models import Portal\n"
    send += "for _ in range(5):\n    sweep.delay()\n    for pk in Portal.objects.values_list('pk', flat=True):\n"
    send += "        run_slice.delay(pk); run_slice.apply_async((pk,), countdown=1)\n"
    deployment.sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 40))
    deployment.app.python(send)
    deployment.finish()
    asked = len(deployment.sandbox.requests("acme"))
    deployment.app.python(send)
    time.sleep(2)
    assert len(deployment.sandbox.requests("acme")) == asked
    assert deployment.outcomes(job) == {("done", ""): 40}


def test_f35_the_second_job_finds_tasks_deferred(deployment, bob):
    ann = deployment.person("acme", name="Ann", is_admin=True)
    tasks = deployment.tasks("acme", bob, 40)
    confirm, confirm_other = deployment.ask("acme", bob, tasks[:30]), deployment.ask("acme", ann, tasks[10:])
    jobs = [confirm(), confirm_other()]
    deployment.finish()
    found = Counter()
    for job in jobs:
        found += deployment.outcomes(job)
    assert found == {("done", ""): 40, ("skipped", "already_deferred"): 20}


def test_f36_two_tabs_start_one_job(deployment, bob):
    page = deployment.page("acme", bob)
    dialog = page.select(deployment.tasks("acme", bob, 5))
    with ThreadPoolExecutor(6) as tabs:
        jobs = set(tabs.map(lambda _: page.defer(dialog, key="one-key-of-one-dialog"), range(12)))
    assert len(jobs) == 1
    deployment.finish()
    assert deployment.outcomes(jobs.pop()) == {("done", ""): 5}
