"""Unexpected answers of a portal or the authorization server."""

import json

import pytest

from b24app import clock
from b24app.bitrix import tasks
from b24app.engine import batches, jobs, queue
from b24app.models import Credential, Job, Portal, RestCall
from tests.faults.engine import outcomes

HTML = {"type": "text/html", "body": "<html>Sorry</html>"}
LIMIT, PERSON, PORTAL = Job.WaitReason.LIMIT, Job.WaitReason.PERSON, Job.WaitReason.PORTAL


def renewals(sandbox):
    return [request["code"] for request in sandbox.requests(None) if request["method"] == "oauth/token"]


def asked(sandbox):
    """The number of requests to the portals and the authorization server."""
    return len(sandbox.control("requests"))


def state_of(job):
    job.refresh_from_db()
    return job.state, job.wait_reason


# -- Tokens ------------------------------------------------------------------------------------------------------


def test_f2_commands_with_an_old_token_are_resent(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 20))
    engine.sandbox.fault("tasks.task.defer", "error", code="expired_token", status=401, skip=4, times=3)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 20}
    assert renewals(engine.sandbox) == [""]


def test_f7_a_revoked_token_is_tried_once(engine, worker, open_as):
    job = engine.defer(worker, engine.tasks(worker, 5))
    Credential.objects.update(expires_at=clock.now())
    engine.sandbox.revoke("acme")
    engine.slice(worker)
    assert state_of(job) == (Job.State.WAITING, PERSON)
    assert renewals(engine.sandbox) == ["invalid_grant"]
    before = asked(engine.sandbox)
    for _ in range(24):
        engine.wait(3600)
        assert worker.portal_id not in queue.portals_with_work()
        engine.slice(worker)
    assert asked(engine.sandbox) == before
    open_as("acme", worker.user_id)
    assert jobs.resume_waiting(worker)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 5}


@pytest.mark.parametrize("code", ["APPLICATION_NOT_FOUND", "ERROR_OAUTH"])
def test_f8_an_unknown_app_stops_the_calls(engine, worker, code):
    engine.defer(worker, engine.tasks(worker, 5))
    engine.sandbox.fault("tasks.task.list", "error", code=code, status=401, times=-1)
    engine.slice(worker)
    assert Portal.objects.get().status == Portal.Status.SUSPENDED
    before = asked(engine.sandbox)
    for _ in range(3):
        engine.wait(3600)
        assert queue.portals_with_work() == []
        engine.slice(worker)
    assert asked(engine.sandbox) == before


@pytest.mark.parametrize("code, status", [("invalid_client", 401), ("NOT_INSTALLED", 401)])
def test_f8_an_unknown_client_stops_the_calls(engine, worker, code, status):
    job = engine.defer(worker, engine.tasks(worker, 5))
    Credential.objects.update(expires_at=clock.now())
    engine.sandbox.fault("oauth/token", "error", code=code, status=status, times=-1)
    before = len(engine.sandbox.requests("acme"))
    for _ in range(5):
        engine.slice(worker)
    assert len(engine.sandbox.requests("acme")) == before
    assert len(renewals(engine.sandbox)) == 1
    job.refresh_from_db()
    assert job.settled == 0


HOUR, DAY = 3600, 24 * 3600


@pytest.mark.parametrize(
    "code, status, why, pause",
    [
        ("PAYMENT_REQUIRED", 402, Job.WaitReason.PAYMENT, DAY),
        ("ACCESS_DENIED", 403, Job.WaitReason.PLAN, DAY),
        ("OVERLOAD_LIMIT", 503, Job.WaitReason.OVERLOAD, HOUR),
        ("METHOD_CONFIRM_WAITING", 401, Job.WaitReason.CONFIRM, HOUR),
    ],
    ids=["f9-payment", "f9-plan", "f12-overload", "f49-confirmation"],
)
def test_f9_f12_f49_a_rejected_app_asks_rarely(engine, worker, code, status, why, pause):
    job = engine.defer(worker, engine.tasks(worker, 5))
    engine.sandbox.fault("tasks.task.list", "error", code=code, status=status, times=2)
    before = asked(engine.sandbox)
    engine.slice(worker)
    portal = Portal.objects.get()
    assert (portal.parked_reason, portal.parked_code) == (why, code)
    assert jobs.waits_for(Job.objects.get(pk=job.pk)) == why
    assert asked(engine.sandbox) == before + 1
    for _ in range(5):
        engine.wait(pause / 6)
        assert queue.portals_with_work() == []
        engine.slice(worker)
    assert asked(engine.sandbox) == before + 1
    engine.work(worker)
    assert engine.waited > 2 * pause - 10
    assert outcomes(job) == {("done", ""): 5}


@pytest.mark.parametrize(
    "fault", [{"kind": "respond", "status": 502, **HTML}, {"kind": "cut"}, {"kind": "respond", "status": 200, **HTML}]
)
def test_f10_an_oauth_outage_delays_only_renewals(engine, worker, open_as, fault):
    other = engine.sandbox.user("umbrella", name="Una")
    engine.sandbox.install("umbrella")
    una = open_as("umbrella", other)
    waiting, running = engine.defer(worker, engine.tasks(worker, 5)), engine.defer(una, engine.tasks(una, 5))
    Credential.objects.filter(person=worker).update(expires_at=clock.now())
    engine.sandbox.fault("oauth/token", times=6, **fault)
    engine.work(worker, una, until=lambda: state_of(running)[0] == Job.State.FINISHED)
    assert state_of(waiting) == (Job.State.WAITING, PORTAL)
    engine.work(worker, una)
    assert outcomes(waiting) == outcomes(running) == {("done", ""): 5}
    assert len(renewals(engine.sandbox)) == 7
    assert engine.waited > 5 * (2**5 - 1)  # each wait is twice the one before


def test_f47_only_the_dismissed_persons_job_waits(engine, worker, open_as):
    ann = open_as("acme", engine.sandbox.user("acme", name="Ann"))
    stuck, healthy = engine.defer(worker, engine.tasks(worker, 5)), engine.defer(ann, engine.tasks(ann, 5))
    engine.sandbox.user("acme", number=worker.user_id, active=False)
    engine.work(worker, until=lambda: state_of(healthy)[0] == Job.State.FINISHED)
    assert state_of(stuck)[0] == Job.State.WAITING
    assert stuck.settled == 0
    assert outcomes(healthy) == {("done", ""): 5}


# -- Limits ------------------------------------------------------------------------------------------------------


def test_f11_request_limits_fail_no_item(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 60))
    storm = {"code": "QUERY_LIMIT_EXCEEDED", "status": 503, "times": -1, "probability": 0.5}
    for seed, method in enumerate(("batch", "tasks.task.list")):
        engine.sandbox.fault(method, "error", **storm, seed=seed)
    before = asked(engine.sandbox)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 60}
    assert asked(engine.sandbox) - before < 40


def test_f13_a_batch_waits_for_operating_time(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 20))
    engine.sandbox.fault("batch", "error", code="OPERATION_TIME_LIMIT", status=429, skip=1)
    engine.work(worker, until=lambda: state_of(job) == (Job.State.WAITING, LIMIT))
    assert job.items.filter(state="sent").count() == 0
    assert job.wait_until > clock.now()
    assert engine.defer(worker, engine.tasks(worker, 1))  # the page still lists and reads
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 20}


def test_f14_an_operating_limit_costs_no_attempt(engine, worker):
    engine.sandbox.turn(
        {"cost.sleep": 0, "cost.tasks.task.defer": 0.33, "cost.tasks.task.pause": 0.26, "limits.operating": 10}
    )
    job = engine.defer(worker, engine.tasks(worker, 80))
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 80}
    assert 600 <= engine.waited < 4 * 600
    assert job.items.filter(sends__gt=3).count() == 0


def test_f18_batches_shrink_for_a_slow_portal(engine, worker, settings):
    settings.TIME_SCALE, settings.ENGINE_READ_TIMEOUT, settings.ENGINE_SETTLE_AFTER = 20, 3.75, 3.75
    settings.ENGINE_BATCH_SECONDS, settings.ENGINE_FIRST_BATCH_SECONDS = 15 / 20, 3 / 20
    engine.sandbox.turn({"limits.request_seconds": 3, "cost.tasks.task.defer": 0.1, "cost.tasks.task.pause": 0.1})
    job = engine.defer(worker, engine.tasks(worker, 16))
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 16}
    sizes = [len(request["commands"]) for request in engine.sandbox.requests("acme") if is_change(request)]
    assert max(sizes[2:]) <= 8
    assert not RestCall.objects.filter(job=job, code__in=["timeout", "not_json_504"]).exists()


def test_f18_a_slow_portal_cuts_two_batches(engine, worker, settings):
    settings.TIME_SCALE, settings.ENGINE_READ_TIMEOUT, settings.ENGINE_SETTLE_AFTER = 20, 3.75, 3.75
    settings.ENGINE_BATCH_SECONDS, settings.ENGINE_FIRST_BATCH_SECONDS = 15 / 20, 3 / 20
    job = engine.defer(worker, engine.tasks(worker, 60))
    Portal.objects.update(seconds_per_command=0.002, defers_directly=False)
    engine.sandbox.turn({"limits.request_seconds": 3, "cost.tasks.task.defer": 0.1, "cost.tasks.task.pause": 0.1})
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 60}
    assert 1 <= RestCall.objects.filter(job=job, code__in=["timeout", "not_json_504"]).count() <= 2


def is_change(request):
    return any(command[1] == "tasks.task.defer" for command in request["commands"])


# -- Garbled answers ---------------------------------------------------------------------------------------------

GARBLED = {
    "f15-500": {"kind": "replace", "status": 500, **HTML},
    "f15-504": {"kind": "replace", "status": 504, **HTML},
    "f15-empty": {"kind": "replace", "status": 200, "body": ""},
    "f15-truncated": {"kind": "truncate"},
    "f15-bom": {"kind": "replace", "status": 200, "body": '\ufeff{"result": []}', "type": "application/json"},
    "f15-gzip": {"kind": "replace", "status": 200, "body": "plain", "headers": {"Content-Encoding": "gzip"}},
    "f20-empty-list": {"kind": "replace", "body": '{"result": []}', "type": "application/json"},
    "f20-no-keys": {"kind": "replace", "body": '{"result": {"result": [], "result_error": []}}'},
    "f20-error-list": {"kind": "replace", "body": '{"result": {"result": [], "result_error": [{"error": "0"}]}}'},
    "f20-strange-keys": {"kind": "replace", "body": '{"result": {"result": {"zz": true}, "result_error": {"x": 1}}}'},
}


@pytest.mark.parametrize("fault", GARBLED.values(), ids=GARBLED)
def test_f15_f20_an_unreadable_answer_is_settled(engine, worker, fault):
    job = engine.defer(worker, engine.tasks(worker, 12))
    engine.sandbox.fault("batch", skip=1, **fault)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 12}
    assert engine.waited > 75 - 5  # without the time that the slices took


def test_f15_a_failing_portal_is_asked_less(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 5))
    engine.sandbox.fault("tasks.task.list", "respond", status=500, times=6, **HTML)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 5}
    assert engine.waited > 5 * (2**6 - 1) - 10


REFUSALS = [("1048582", "not_permitted"), ("0", "not_permitted"), ("SOMETHING_NEW", "refused")]


@pytest.mark.parametrize("code, reason", REFUSALS)
def test_f19_a_refused_command_concerns_one_task(engine, worker, code, reason):
    tasks = engine.tasks(worker, 10, status=2)
    job = engine.defer(worker, tasks)
    engine.sandbox.fault("tasks.task.defer", "error", code=code, status=400, times=3)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 7, ("failed", reason): 3}
    assert set(job.items.filter(state="failed").values_list("vendor_code", flat=True)) == {code}


def test_f19_a_missing_scope_stops_the_job_once(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 10, status=2))
    engine.sandbox.fault("tasks.task.defer", "error", code="insufficient_scope", status=403, skip=4, times=6)
    engine.work(worker, until=lambda: Portal.objects.get().parked_reason == Job.WaitReason.SCOPE)
    assert outcomes(job) == {("done", ""): 4, ("pending", ""): 6}
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 10}


def test_f54_a_late_answer_counts(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 5))
    engine.sandbox.fault("batch", "late", skip=1, seconds=2.0)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 5}
    assert engine.waited == 0


# -- Addresses ---------------------------------------------------------------------------------------------------


@pytest.fixture
def rename(engine):
    """Give acme another address; the test's end restores the old one."""
    old = engine.sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")
    yield lambda: engine.sandbox.control("rename", portal="acme", host=new) or new
    engine.sandbox.control("rename", portal="acme", host=old)
    engine.sandbox.reset()


def test_f21_a_renamed_portal_is_followed(engine, worker, rename, settings):
    settings.ENGINE_SLICE_SECONDS = 0
    job = engine.defer(worker, engine.tasks(worker, 30))
    engine.work(worker, until=lambda: job.items.filter(state="done").exists())
    new = rename()
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 30}
    assert Portal.objects.get().endpoint == f"http://{new}/rest/"


def test_f22_a_redirect_loop_gets_no_token(engine, worker, httpserver):
    job = engine.defer(worker, engine.tasks(worker, 5))
    target = httpserver.url_for("/rest/tasks.task.list")
    headers = {"Location": target}
    engine.sandbox.fault("tasks.task.list", "respond", status=302, body="", headers=headers, times=3)
    engine.slice(worker)
    assert state_of(job) == (Job.State.WAITING, PORTAL)
    engine.work(worker)
    assert httpserver.log == []
    assert outcomes(job) == {("done", ""): 5}


# -- Our own failures --------------------------------------------------------------------------------------------


def garbled(engine, bob, ids, broken):
    """The portal's answer to a reading of these tasks, with one task malformed."""
    fields = {"filter": {"ID": ids}, "select": tasks.STATE_FIELDS, "start": -1}
    answer = engine.sandbox.rest("acme", "tasks.task.list", fields, engine.sandbox.access("acme", bob)).json()
    for row in answer["result"]["tasks"]:
        row["status"] = "?" if row["id"] == str(broken) else row["status"]
    return {"kind": "respond", "body": json.dumps(answer), "type": "application/json"}


def test_f43_a_garbled_task_blocks_no_other(engine, worker):
    ids = engine.tasks(worker, 5)
    job = engine.defer(worker, ids)
    engine.sandbox.fault("tasks.task.list", times=-1, **garbled(engine, worker.user_id, ids, ids[2]))
    engine.work(worker, until=lambda: job.items.filter(state="done").exists())
    engine.sandbox.clear_faults()
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 4, ("failed", "refused"): 1}
    assert engine.sandbox.states("acme", [ids[2]]) == {ids[2]: 3}


def test_f43_a_garbled_lost_task_is_read_again(engine, worker):
    ids = engine.tasks(worker, 3)
    job = engine.defer(worker, ids)
    Portal.objects.update(defers_directly=False)
    engine.work(worker, until=lambda: job.items.filter(seen_at__isnull=False).exists())
    engine.sandbox.fault("batch", "drop")
    engine.work(worker, until=lambda: job.items.filter(state="sent").count() == 3)
    engine.sandbox.fault("tasks.task.list", times=2, **garbled(engine, worker.user_id, ids, ids[0]))
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 3}


def test_f43_a_failing_job_waits_longer_each_time(engine, worker, monkeypatch, caplog):
    poisoned, healthy = engine.defer(worker, engine.tasks(worker, 3)), engine.defer(worker, engine.tasks(worker, 3))
    run = batches.Batch.run

    def fail(step):
        if step.job == poisoned:
            raise ZeroDivisionError
        run(step)

    monkeypatch.setattr(batches.Batch, "run", fail)
    engine.slice(worker)
    assert state_of(healthy)[0] == Job.State.FINISHED
    waits = []
    for _ in range(5):
        assert state_of(poisoned) == (Job.State.WAITING, Job.WaitReason.ERROR)
        waits.append((poisoned.wait_until - clock.now()).total_seconds())
        engine.wait(waits[-1] + 1)
        engine.slice(worker)
    assert waits == pytest.approx([60, 120, 240, 480, 960], abs=3)
    assert f"job {poisoned.pk}: stopped by an internal error" in caplog.text
    monkeypatch.setattr(batches.Batch, "run", run)
    engine.work(worker)
    assert outcomes(poisoned) == {("done", ""): 3}
