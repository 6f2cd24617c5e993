"""Faults between concurrent people, portals, jobs and processes."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.deployment import PORTALS, WORKERS, is_lost, tasks_of, touches
from tests.processes import wait_until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.workers,
]

SKEWED = Path(__file__).parent / "skewed"


def renewals(deployment):
    return [request["code"] for request in deployment.sandbox.requests(None) if request["method"] == "oauth/token"]


# -- Credentials -------------------------------------------------------------------------------------------------

ASK_AGAIN = """
import sys
from b24app.portals import credentials
from b24app.bitrix.errors import BitrixError
from b24app.models import Person
people = list(Person.objects.select_related("portal"))
print("ready", flush=True)
for line in sys.stdin:
    try:
        print([credentials.usable(person, patience=10.0)[0].version for person in people], flush=True)
    except BitrixError as error:
        print(type(error).__name__, error.code, flush=True)
"""


def test_f3_ten_processes_renew_each_pair_once(deployment):
    for portal in PORTALS[:2]:
        deployment.page(portal, deployment.person(portal))
    processes = [deployment.app.launch_python(ASK_AGAIN) for _ in range(10)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for expiry in range(10):
        deployment.app.rows_changed("update defer_credential set expires_at = now()")
        for process in processes:
            process.stdin.write("now\n")
            process.stdin.flush()
        assert {process.stdout.readline().strip() for process in processes} == {f"[{expiry + 2}, {expiry + 2}]"}
    for process in processes:
        process.communicate(timeout=10)
    assert renewals(deployment) == [""] * 20


def test_f5_f6_a_lost_token_pair_waits_for_its_person(deployment, bob):
    job = deployment.ask("acme", bob, deployment.tasks("acme", bob, 20))
    deployment.app.rows_changed("update defer_credential set expires_at = now()")
    deployment.plan("renewed", "0")
    job = job()
    wait_until(lambda: deployment.app.value("select wait_reason from defer_job") == "person", what="the job to wait")
    assert len(deployment.dead()) == 1
    assert renewals(deployment) == ["", "invalid_grant"]
    time.sleep(3)  # three sweeps
    assert renewals(deployment) == ["", "invalid_grant"]
    deployment.page("acme", bob)
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 20}


def test_f4_an_opening_replaces_the_tokens(deployment, bob):
    deployment.sandbox.turn({"cost.tasks.task.defer": 0.01, "cost.tasks.task.pause": 0.01})
    job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 80))
    for _ in range(3):
        deployment.sandbox.fault("oauth/token", "delay", seconds=0.5)
        deployment.app.rows_changed("update defer_credential set expires_at = now()")
        time.sleep(0.3)
        deployment.page("acme", bob)
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 80}
    assert set(renewals(deployment)) <= {""}


# -- Workers and clocks ------------------------------------------------------------------------------------------


def test_f30_the_page_says_that_no_worker_runs(deployment, bob):
    for name in WORKERS:
        deployment.signal(name, signal.SIGSTOP)
    page = deployment.page("acme", bob)
    job = page.defer(page.select(deployment.tasks("acme", bob, 10)))
    wait_until(lambda: "No worker is running" in page.call("GET", f"/jobs/{job}/"), 15, "the page to show the warning")
    for name in WORKERS:
        deployment.signal(name, signal.SIGCONT)
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 10}


def test_f39_clocks_may_differ_by_minutes(deployment, bob):
    # Five minutes, scaled. A worker compares wait times with its own clock, so a job may wait longer by the difference.
    # Leases and the age of a sent or read task use the clock of the database.
    minutes = 300 / deployment.scale
    deployment.sandbox.move_clock(minutes * 0.8)  # the portal's clock
    for name, seconds in {"w1": minutes, "w2": -minutes}.items():
        deployment.app.kill(name)
        deployment.app.start("worker", name=name, PYTHONPATH=str(SKEWED), SKEW=str(seconds))
    confirm = [deployment.ask("acme", bob, deployment.tasks("acme", bob, 30)) for _ in range(3)]
    deployment.sandbox.fault("batch", "drop", skip=2)
    jobs = [press() for press in confirm]
    deployment.finish()
    assert {job: deployment.outcomes(job) for job in jobs} == {job: {("done", ""): 30} for job in jobs}
    lost = next(request for request in deployment.sandbox.requests("acme") if is_lost(request))
    again = next(r for r in deployment.sandbox.requests("acme") if r["id"] > lost["id"] and touches(r, tasks_of(lost)))
    # The app reads 75 s after its commit, and it committed before it sent.
    assert again["at"] - lost["at"] >= 65 / deployment.scale
    for name in ("w1", "w2"):
        deployment.app.kill(name)


def test_f51_a_failing_journal_stops_nothing(deployment, bob):
    deployment.app.rows_changed(
        "create function full_disk() returns trigger as $$ begin raise exception 'disk is full'; end $$"
        " language plpgsql; create trigger full_disk before insert on defer_restcall"
        " for each row execute function full_disk()"
    )
    try:
        job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 30))
        deployment.finish()
    finally:
        deployment.app.rows_changed("drop function full_disk cascade")
    assert deployment.outcomes(job) == {("done", ""): 30}
    assert any("journal not written" in deployment.app.log(name).read_text() for name in WORKERS)


ASK_FOR_A_JOB = """
from b24app import clock
from b24app.engine import jobs
from b24app.models import Person, SelectedTask, Selection
person = Person.objects.get()
selection = Selection.objects.create(person=person, state="ready", created_at=clock.now())
SelectedTask.objects.create(selection=selection, task_id=1, status=3)
print("ready", flush=True)
input()
try:
    jobs.start(person, selection, "", f"key-{selection.pk}")
    print("started")
except jobs.TooManyJobs:
    print("too many")
"""


def test_f36_of_many_tabs_four_get_a_job(deployment, bob):
    deployment.page("acme", bob)
    for name in WORKERS:
        deployment.signal(name, signal.SIGSTOP)
    tabs = [deployment.app.launch_python(ASK_FOR_A_JOB) for _ in range(8)]
    for tab in tabs:
        assert tab.stdout.readline() == "ready\n"
    for tab in tabs:
        tab.stdin.write("\n")
        tab.stdin.flush()
    answers = sorted(tab.communicate(timeout=30)[0].strip() for tab in tabs)
    assert answers == ["started"] * 4 + ["too many"] * 4
    for name in WORKERS:
        deployment.signal(name, signal.SIGCONT)
    deployment.finish()


# -- Many jobs ---------------------------------------------------------------------------------------------------


def test_f44_a_big_job_reports_each_task(deployment, bob):
    eve = deployment.person("acme", name="Eve")
    mine = deployment.tasks("acme", bob, 295)
    foreign = deployment.tasks("acme", eve, 5, auditors=[bob])
    job = deployment.defer("acme", bob, mine + foreign)
    deployment.finish(120)
    assert deployment.outcomes(job) == {("done", ""): 295, ("failed", "not_permitted"): 5}


def test_f45_small_jobs_pass_a_big_one(deployment, bob):
    deployment.sandbox.turn({"acme/cost.tasks.task.defer": 0.02, "acme/cost.tasks.task.pause": 0.02})
    confirm = {portal: deployment.ask(portal, *asked_by(deployment, portal)) for portal in PORTALS[1:]}
    big = deployment.defer("acme", bob, deployment.tasks("acme", bob, 200))
    with ThreadPoolExecutor(len(confirm)) as people:
        small = list(people.map(lambda press: press(), confirm.values()))
    unfinished = f"select count(*) from defer_job where state <> 'finished' and id in ({','.join(map(str, small))})"
    wait_until(lambda: not deployment.app.value(unfinished), 30, "the small jobs")
    assert deployment.app.value("select state from defer_job where id = ?", [big]) != "finished"
    deployment.finish(90)
    assert deployment.outcomes(big) == {("done", ""): 200}


def asked_by(deployment, portal):
    person = deployment.person(portal)
    return person, deployment.tasks(portal, person, 20)


def test_f55_mass_uninstalls_stay_apart(deployment):
    people = {}
    for portal in PORTALS:
        people[portal], tasks = asked_by(deployment, portal)
        if portal != PORTALS[0]:
            deployment.defer(portal, people[portal], tasks[:5])
    deployment.finish()
    with ThreadPoolExecutor(len(PORTALS)) as admins:
        list(admins.map(lambda portal: deployment.sandbox.uninstall(portal, clean=False), PORTALS[2:]))
        list(admins.map(deployment.sandbox.install, PORTALS[2:]))
    kept = deployment.tasks("acme", people["acme"], 20)
    job = deployment.defer("acme", people["acme"], kept)
    again = [
        deployment.defer(portal, people[portal], deployment.tasks(portal, people[portal], 5)) for portal in PORTALS[2:]
    ]
    deployment.finish()
    assert deployment.outcomes(job) == {("done", ""): 20}
    assert [deployment.outcomes(number) for number in again] == [{("done", ""): 5}] * len(again)
    assert deployment.app.value("select count(*) from defer_portal where status = 'active'") == len(PORTALS)
