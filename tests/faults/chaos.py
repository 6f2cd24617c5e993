"""`make faults`: random faults during mixed jobs, repeatable by seed, random walks, and three faults at unscaled times.

A seed determines the jobs, the answers of the portals, and which process is killed at what time. The oracle checks the
result. A seed that passed is recorded in var/faults/ until the app's code changes, so a run can be resumed.
The walks (walk.py) run in one process, in portions. A test moves their clock.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

from tests.conftest import create_database, database_url, drop_database
from tests.environment import ROOT
from tests.faults.deployment import PORTALS, WORKERS, Deployment
from tests.processes import App

SECONDS = 30  # seconds of faults per seed
WALKS = 250  # in one portion
MOST_JOBS = 4  # unfinished jobs that one person may have
REAL_TIME = [
    "test_f16_a_timed_out_batch_is_read[everything]",
    "test_f26_a_kill_at_any_point_loses_nothing[claimed]",
    "test_f29_a_lost_redis_costs_only_time",
]
HTML = {"status": 502, "body": "<html>Bad gateway</html>", "type": "text/html"}
ANSWERS = [
    ("batch", {"kind": "drop"}),
    ("batch", {"kind": "cut"}),
    ("batch", {"kind": "truncate"}),
    ("batch", {"kind": "late", "seconds": 4.5}),
    ("batch", {"kind": "replace", **HTML}),
    ("batch/*", {"kind": "cut", "skip": 9}),
    ("tasks.task.list", {"kind": "respond", **HTML}),
    ("tasks.task.list", {"kind": "drop"}),
    ("tasks.task.defer", {"kind": "error", "code": "1048582", "status": 400, "times": 3}),
    ("tasks.task.defer", {"kind": "error", "code": "expired_token", "status": 401, "times": 2}),
    ("tasks.task.pause", {"kind": "error", "code": "1048582", "status": 400, "times": 3}),
    # Refused after it was done: a portal whose event handler fails answers so.
    ("tasks.task.defer", {"kind": "error_after", "code": "1048584", "status": 400, "times": 3}),
    ("tasks.task.defer", {"kind": "error_after", "code": "1048582", "status": 400, "times": 2}),
    ("tasks.task.pause", {"kind": "error_after", "code": "1048584", "status": 400, "times": 2}),
    ("tasks.task.renew", {"kind": "error_after", "code": "1048584", "status": 400, "times": 2}),
    ("tasks.task.start", {"kind": "error_after", "code": "0", "status": 400, "times": 2}),
    ("oauth/token", {"kind": "delay", "seconds": 1.0}),
]
FINISHED = """
    select job.id, portal.member_id, person.user_id
    from defer_job job join defer_person person on person.id = job.person_id
    join defer_portal portal on portal.id = job.portal_id
    where job.state = 'finished' and job.kind = 'defer' and job.done > 0 order by job.id
"""


class Trial:
    """The random jobs and faults of one seed, on a running deployment."""

    def __init__(self, deployment, seed):
        self.deployment, self.dice = deployment, random.Random(seed)
        self.people = [(portal, deployment.person(portal, name=f"P{n}")) for portal in PORTALS[:3] for n in range(2)]
        self.known, self.asked = {}, Counter()
        self.happened = self.undone = 0

    def ask(self):
        """A random person starts a job over a mixed selection, unless they have MOST_JOBS already."""
        portal, person = self.dice.choice(self.people)
        if self.asked[portal, person] < MOST_JOBS:
            self._defer(portal, person, self._mixed(portal, person))

    def ask_twice(self):
        """A random person starts two jobs over the same tasks, and an answer of the first one is lost."""
        portal, person = self.dice.choice(self.people)
        if self.asked[portal, person] + 1 < MOST_JOBS:
            tasks = self._mixed(portal, person)
            self.deployment.sandbox.fault("tasks.task.defer", "cut", skip=self.dice.randrange(4))
            self._defer(portal, person, tasks)
            self._defer(portal, person, tasks)

    def _defer(self, portal, person, tasks):
        self.asked[portal, person] += 1
        self.deployment.defer(portal, person, tasks)

    def _mixed(self, portal, person):
        """New tasks in several states, and a few older ones."""
        count = self.dice.choice([3, 10, 25, 60])
        statuses = self.dice.choices([3, 2, 6, 1], weights=[8, 2, 1, 1], k=count)
        tasks = self.deployment.sandbox.tasks(portal, [{"status": status} for status in statuses], creator=person)
        mine = self.known.setdefault((portal, person), [])
        mine.extend(tasks)
        older = self.dice.sample(mine, min(5, len(mine)))
        return list(dict.fromkeys(tasks + older))

    def undo(self):
        """Undo a random finished job, unless its person has MOST_JOBS already."""
        finished = self.deployment.app.rows(FINISHED)
        if not finished:
            return
        job, member_id, person = self.dice.choice(finished)
        portals = {portal["member_id"]: portal["key"] for portal in self.deployment.sandbox.control("portals")}
        owner = (portals[member_id], person)
        if self.asked[owner] < MOST_JOBS:
            self.asked[owner] += 1
            self.undone += 1
            self.deployment.page(*owner).call("POST", f"/jobs/{job}/undo/")

    def strike(self):
        """Inject one random fault."""
        self.happened += 1
        often = [self.answer, self.answer, self.answer, self.kill, self.kill, self.freeze]
        rarely = [
            self.stop,
            self.flush,
            self.cut_redis,
            self.deployment.cut_database,
            self.expire,
            self.change,
            self.deploy,
        ]
        self.dice.choice(often + rarely)()

    def answer(self):
        method, fault = self.dice.choice(ANSWERS)
        self.deployment.sandbox.fault(method, **{"skip": self.dice.randrange(4), **fault})

    def kill(self):
        self.deployment.plan(self.dice.choice(["claimed", "answered", "saving", "saved"]), "0")

    def stop(self):
        self.deployment.plan(self.dice.choice(["claimed", "answered"]), "stop")

    def freeze(self):
        """A worker freezes between the renewal of its lease and the request, which has a kept connection to use."""
        self.deployment.plan("reserved", "pass", "stop")

    def deploy(self):
        self.signal(signal.SIGTERM)

    def signal(self, number):
        name = self.dice.choice(WORKERS)
        if name in self.deployment.app.running and name not in self.deployment.dead():
            self.deployment.signal(name, number)

    def flush(self):
        self.deployment.redis.flushdb()

    def cut_redis(self):
        self.deployment.wire.cut()
        threading.Timer(self.dice.uniform(0.5, 2.0), self.deployment.wire.mend).start()

    def expire(self):
        self.deployment.sandbox.expire(self.dice.choice(PORTALS[:3]))

    def change(self):
        """Another user changes a task before the app does."""
        (portal, _), tasks = self.dice.choice(list(self.known.items()))
        if tasks:
            task = tasks.pop(self.dice.randrange(len(tasks)))
            self.deployment.sandbox.change_task(portal, task, status=self.dice.choice([5, 3]))


def endure(deployment, seed):
    """Run one seed to its last outcome; return a summary of it. Raises AssertionError."""
    started = time.monotonic()
    deployment.fresh()
    trial = Trial(deployment, seed)
    for _ in range(3):
        trial.ask()
    while time.monotonic() - started < SECONDS:
        time.sleep(trial.dice.uniform(0.2, 1.5))
        trial.strike()
        if trial.dice.random() < 0.25:
            deployment.wire.mend()
            deployment.revive()
            deployment.sandbox.clear_faults()  # a person retries until the page answers; this test is about jobs
            trial.dice.choice([trial.ask, trial.ask_twice])()
            trial.undo()
    deployment.sandbox.clear_faults()
    for plan in deployment.plans.iterdir():
        plan.unlink(missing_ok=True)
    deployment.wire.mend()
    time.sleep(5)  # a stopped worker loses its lease to another one
    deployment.revive()
    for portal, person in trial.people:
        deployment.page(portal, person)  # a person whose token pair was lost opens the app again
    deployment.finish(180)
    items = deployment.app.value("select count(*) from defer_jobitem")
    took = time.monotonic() - started
    summary = f"{trial.asked.total()} jobs, {trial.undone} undone, {items} items, {trial.happened} faults"
    return f"seed {seed}: {summary}, all true after {took:.0f} s"


def version():
    """A digest of the app's code."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "b24app").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run_seeds(seeds, kept):
    """Run the seeds that have not passed yet; return how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="defer-faults-") as directory:
        name = f"defer_chaos_{uuid.uuid4().hex[:8]}"
        create_database(name)
        App(Path(directory), 8000, database_url(name), {}).manage("migrate")
        deployment = Deployment(Path(directory), database_url(name))
        try:
            for seed in seeds:
                failed += not passes(deployment, seed, kept)
        finally:
            deployment.close()
            drop_database(name)
    return failed


def passes(deployment, seed, kept):
    try:
        print(endure(deployment, seed), flush=True)
    except AssertionError as error:
        print(f"seed {seed}: FAILED\n{error}", flush=True)
        return False
    (kept / f"seed-{seed}").touch()
    return True


def run_walks(number, kept):
    """Run this many walks in portions; return how many portions failed. Each failing seed says how to repeat it."""
    failed = 0
    for first in range(1, number + 1, WALKS):
        passed = kept / f"walks-from-{first}"
        if passed.exists():
            continue
        print(f"walks {first} to {first + WALKS - 1} …", flush=True)
        words = ["-m", "pytest", "-q", "-n", "2", "--show-capture=no", "tests/faults/test_walk.py"]
        environment = os.environ | {"WALK_FIRST": str(first), "WALK_SEEDS": str(WALKS)}
        if subprocess.run([sys.executable, *words], cwd=ROOT, env=environment).returncode:
            failed += 1
        else:
            passed.touch()
    return failed


def run_at_real_times(kept):
    """Run the three faults without time scaling; return whether they pass."""
    print("F16, F26 and F29 at real times …", flush=True)
    tests = [f"tests/faults/test_killed.py::{name}" for name in REAL_TIME]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, env=os.environ | {"FAULTS_TIME_SCALE": "1"}
    )
    if done.returncode == 0:
        (kept / "real-time").touch()
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--walks", type=int, default=2000, help="how many random walks")
    parser.add_argument("--scaled-only", action="store_true", help="skip the three faults at real times")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that every started process is ended
    kept = ROOT / "var" / "faults" / version()
    kept.mkdir(parents=True, exist_ok=True)
    seeds = [seed for seed in range(asked.first, asked.first + asked.seeds) if not (kept / f"seed-{seed}").exists()]
    print(f"{asked.seeds - len(seeds)} of {asked.seeds} seeds have passed before with this code.", flush=True)
    failed = run_walks(asked.walks, kept)
    failed += run_seeds(seeds, kept) if seeds else 0
    if not asked.scaled_only and not (kept / "real-time").exists():
        failed += not run_at_real_times(kept)
    sys.exit(f"{failed} failed" if failed else None)


if __name__ == "__main__":
    main()
