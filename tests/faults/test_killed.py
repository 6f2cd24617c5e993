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

RECONNECT = 8.0  # seconds; Celery's own patience between attempts to reach its broker does not scale


# -- F26, F28: killed at every point -----------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["claimed", "answered", "saving", "saved"])
def test_f26_a_worker_killed_at_any_point_loses_and_doubles_nothing(bench, bob, point):
    bench.plan(point, *(["pass"] if point in ("saving", "saved") else []), "0")
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 20))
    bench.wait_for_plans()
    bench.finish()
    assert len(bench.dead()) == 1
    assert bench.outcomes(job) == {("done", ""): 20}


def test_f26_f28_a_worker_killed_while_the_portal_works_on_its_batch_loses_and_doubles_nothing(bench, bob):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 20))
    bench.sandbox.fault("batch", "late", seconds=40 / bench.scale)
    bench.plan("claimed", "1")
    job = confirm()
    bench.wait_for_plans()
    bench.finish()
    assert len(bench.dead()) == 1
    assert bench.outcomes(job) == {("done", ""): 20}


# -- F16, F27, F34: slow answers, deploys, a worker that sleeps ----------------------------------------------------


@pytest.mark.parametrize("applied", ["everything", "a prefix", "nothing"])
def test_f16_a_batch_that_timed_out_is_settled_by_reading_when_the_portal_must_be_through(bench, bob, applied):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 20))
    if applied == "everything":
        bench.sandbox.fault("batch", "late", seconds=100 / bench.scale)
    elif applied == "a prefix":
        bench.sandbox.fault("batch/*", "cut", skip=7)
    else:
        bench.sandbox.fault("batch", "cut")
    job = confirm()
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 20}
    asked = bench.sandbox.requests("acme")
    lost = next(request for request in asked if is_lost(request, 80 / bench.scale))
    again = next(request for request in asked if request["id"] > lost["id"] and touches(request, tasks_of(lost)))
    assert again["method"] == "tasks.task.list"
    assert again["at"] - lost["at"] >= 65 / bench.scale  # 75 from when it was committed, which was a little earlier


def test_f17_a_connection_that_breaks_at_any_moment_costs_only_time(bench, bob):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 60))
    bench.sandbox.fault("batch", "drop")
    bench.sandbox.fault("tasks.task.list", "cut", skip=1)
    bench.sandbox.fault("tasks.task.pause", "cut", skip=25)
    job = confirm()
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 60}


def test_f27_a_deploy_ends_the_slice_and_leaves_nothing_unknown(bench, bob):
    bench.sandbox.turn({"cost.tasks.task.defer": 0.01, "cost.tasks.task.pause": 0.01})
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 60))
    wait_until(lambda: bench.batches(), what="the first batch")
    for name in WORKERS:
        bench.signal(name, signal.SIGTERM)
    wait_until(lambda: set(bench.dead()) == set(WORKERS), 20, "the workers to end")
    assert bench.app.value("select count(*) from defer_jobitem where state = 'sent' and refusal = ''") == 0
    assert bench.app.value("select count(*) from defer_portal where lease_owner is not null") == 0
    bench.revive()
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 60}


@pytest.mark.parametrize("point", ["claimed", "reserved", "answered", "saving"])
def test_f34_a_worker_that_slept_through_a_takeover_writes_nothing_when_it_wakes(bench, bob, point):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 20))
    bench.plan(point, *(["pass"] if point in ("reserved", "saving") else []), "stop")  # the reading comes first
    job = confirm()
    (sleeper,) = wait_until(bench.stopped, what="a worker to be stopped")
    # Where it was saving it holds the portal's row, until the database ends its transaction.
    wait_until(lambda: bench.app.value("select count(*) from defer_job where state = 'finished'"), 60, "the job")
    bench.signal(sleeper, signal.SIGCONT)
    time.sleep(1)  # for whatever the sleeper may do
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 20}


# -- F29, F30: Redis ---------------------------------------------------------------------------------------------


def test_f29_a_flushed_and_unreachable_redis_costs_only_time(bench, bob):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 20))
    bench.wire.cut()
    bench.redis.flushdb()
    job = confirm()  # a page still makes jobs
    assert bench.app.value("select state from defer_job") == "queued"
    time.sleep(1.5)
    bench.wire.mend()
    took = bench.finish()
    assert took < 60 / bench.scale + RECONNECT
    assert bench.outcomes(job) == {("done", ""): 20}


def test_f29_a_hint_that_was_wiped_with_its_queue_costs_about_a_minute(bench, bob):
    confirm = bench.ask("acme", bob, bench.tasks("acme", bob, 10))
    for name in WORKERS:
        bench.signal(name, signal.SIGSTOP)
    wait_until(lambda: not bench.consumers(), what="Redis to give up handing messages to the workers")
    job = confirm()
    assert any(b"run_slice" in message for message in bench.redis.lrange("celery", 0, -1))  # a beat's may lie there too
    bench.redis.flushdb()
    for name in WORKERS:
        bench.signal(name, signal.SIGCONT)
    wait_until(lambda: bench.batches(), 90 / bench.scale, "the first batch")
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 10}


def test_f29_a_broker_emptied_in_the_middle_of_a_job_costs_only_time(bench, bob):
    bench.sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 80))
    for _ in range(4):
        bench.redis.flushdb()
        bench.wire.break_connections()
        time.sleep(0.5)
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 80}


# -- F31, F32: PostgreSQL ------------------------------------------------------------------------------------------


def test_f31_database_connections_cut_at_any_statement_lose_and_double_nothing(bench, bob):
    bench.sandbox.turn({"cost.tasks.task.defer": 0.01, "cost.tasks.task.pause": 0.01})
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 80))
    for _ in range(12):
        bench.cut_database()
        time.sleep(0.2)
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 80}


def test_f32_a_lock_on_the_items_delays_the_job_and_nothing_else(bench, bob):
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 20))
    with psycopg.connect(bench.app.database_url) as connection:
        connection.execute("lock table defer_jobitem in access exclusive mode")
        time.sleep(30 / bench.scale)
        connection.rollback()
    bench.finish()
    assert bench.outcomes(job) == {("done", ""): 20}


# -- F33, F35, F36: the same again ---------------------------------------------------------------------------------


def test_f33_hints_delivered_again_out_of_order_and_late_do_nothing_twice(bench, bob):
    send = "from b24app.worker.messages import run_slice, sweep\nfrom b24app.models import Portal\n"
    send += "for _ in range(5):\n    sweep.delay()\n    for pk in Portal.objects.values_list('pk', flat=True):\n"
    send += "        run_slice.delay(pk); run_slice.apply_async((pk,), countdown=1)\n"
    bench.sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    job = bench.defer("acme", bob, bench.tasks("acme", bob, 40))
    bench.app.python(send)
    bench.finish()
    asked = len(bench.sandbox.requests("acme"))
    bench.app.python(send)
    time.sleep(2)
    assert len(bench.sandbox.requests("acme")) == asked
    assert bench.outcomes(job) == {("done", ""): 40}


def test_f35_of_two_jobs_over_the_same_tasks_the_second_finds_them_deferred(bench, bob):
    ann = bench.person("acme", name="Ann", is_admin=True)
    tasks = bench.tasks("acme", bob, 40)
    confirm, confirm_other = bench.ask("acme", bob, tasks[:30]), bench.ask("acme", ann, tasks[10:])
    jobs = [confirm(), confirm_other()]
    bench.finish()
    found = Counter()
    for job in jobs:
        found += bench.outcomes(job)
    assert found == {("done", ""): 40, ("skipped", "already_deferred"): 20}


def test_f36_a_confirmation_sent_by_two_tabs_at_once_is_one_job(bench, bob):
    page = bench.page("acme", bob)
    dialog = page.select(bench.tasks("acme", bob, 5))
    with ThreadPoolExecutor(6) as tabs:
        jobs = set(tabs.map(lambda _: page.defer(dialog, key="one-key-of-one-dialog"), range(12)))
    assert len(jobs) == 1
    bench.finish()
    assert bench.outcomes(jobs.pop()) == {("done", ""): 5}
