"""The deployment under faults: PostgreSQL, Redis, web, three workers, two beats, and a sandbox of several portals.

deployment = Deployment(directory, database_url)
deployment.fresh()
bob = deployment.person("acme")
job = deployment.defer("acme", bob, deployment.tasks("acme", bob, 20))
deployment.plan("claimed", "0")  # the next worker that has claimed items is killed at that moment
deployment.finish()  # waits until every job has finished, then asks the oracle
"""

import os
import signal
import time
from urllib.parse import urlsplit

import redis

from tests import machine
from tests.conftest import settings_for
from tests.faults import oracle
from tests.faults.wire import Wire
from tests.flows.page import Page
from tests.processes import App, wait_until
from tests.sandbox_client import Sandbox, free_ports

PORTALS = ("acme", "umbrella", "p3", "p4", "p5", "p6")
PROCESSES = {
    **{"web": "web", "w1": "worker", "w2": "worker", "w3": "worker"},
    **{"b1": "beat", "b2": "beat"},
}
WORKERS = ("w1", "w2", "w3")
QUIET = "select count(*) from defer_job where state <> 'finished'"
HELD = "select count(*) from defer_portal where lease_owner is not null"


class Deployment:
    """One running deployment, its people and jobs, and the faults that a test can inject."""

    def __init__(self, directory, database_url, time_scale=20):
        self.directory, self.scale = directory, time_scale
        port = free_ports(1)[0]
        self.sandbox = Sandbox.start(directory, portals=PORTALS, app_origin=f"http://127.0.0.1:{port}")
        there = urlsplit(machine.REDIS_URL)
        self.wire = Wire((there.hostname, there.port or 6379))
        credentials = there.netloc.rpartition("@")[0]
        here = f"{credentials}@127.0.0.1" if credentials else "127.0.0.1"
        self.plans = directory / "plans"
        self.plans.mkdir()
        own = {
            "CELERY_BROKER_URL": there._replace(netloc=f"{here}:{self.wire.port}").geturl(),
            "TIME_SCALE": str(time_scale),
            "FAILPOINTS": str(self.plans),
        }
        self.app = App(directory, port, database_url, settings_for(self.sandbox) | own)
        self.redis = redis.from_url(machine.REDIS_URL)
        self.redis.flushdb()

    def close(self):
        self.forget_dead()
        self.app.kill_all()
        self.sandbox.stop()
        self.wire.close()
        self.redis.close()

    # -- Before a test -----------------------------------------------------------------------------------------

    def fresh(self):
        """Start all processes, drop planned faults, and delete all portals and people."""
        for plan in self.plans.iterdir():
            plan.unlink()
        self.wire.mend()
        self.revive()
        self.sandbox.reset()
        self.sandbox.settings(limits__request_seconds=60 / self.scale)
        self.sandbox.keep_pace(self.scale)
        self.app.rows_changed("truncate defer_portal, defer_pendingopening cascade")

    def revive(self):
        """Restart ended processes and continue stopped ones, as a supervisor does."""
        self.forget_dead()
        for name in self.app.running:
            self.signal(name, signal.SIGCONT)
        missing = {name: kind for name, kind in PROCESSES.items() if name not in self.app.running}
        self.app.start_all(**missing)

    def forget_dead(self):
        for name in self.dead():
            del self.app.running[name]

    # -- People, tasks, jobs -----------------------------------------------------------------------------------

    def person(self, portal="acme", **fields):
        """A new person of a portal that has the app."""
        number = self.sandbox.user(portal, **{"name": "Bob", **fields})
        self.sandbox.install(portal)
        return number

    def tasks(self, portal, creator, count, **fields):
        return self.sandbox.tasks(portal, count=count, **{"creator": creator, "status": 3, **fields})

    def page(self, portal, user):
        """This person's page, opened above their list. The opening gives the app a fresh token pair."""
        options = {"USER_ID": str(user)}
        opening = self.sandbox.open(portal, user, placement="TASK_USER_LIST_TOOLBAR", options=options)
        return Page(self.app, opening)

    def ask(self, portal, user, tasks):
        """Select these tasks as a person does; return a function that presses the last button.

        A fault planned in between affects only the job, not the opening or the selection. The app already knows
        how this portal defers, so it does not ask.
        """
        page = self.page(portal, user)
        dialog = page.select(tasks)
        self.app.rows_changed("update defer_portal set defers_directly = false")
        return lambda: page.defer(dialog)

    def defer(self, portal, user, tasks):
        """Start a job that defers these tasks; return its number."""
        return self.ask(portal, user, tasks)()

    # -- Faults ------------------------------------------------------------------------------------------------

    def plan(self, point, *actions):
        """Plan what the next processes do that reach a point, in order: see b24app/failpoints.py."""
        for number, action in enumerate(actions):
            draft = self.plans / f"draft-{point}"
            draft.write_text(action)
            draft.rename(self.plans / f"{point}.{number}")

    def wait_for_plans(self, seconds=60):
        """Wait until every planned fault has happened."""
        wait_until(lambda: not list(self.plans.iterdir()), seconds, "the planned faults")

    def dead(self):
        """The names of processes that have ended."""
        return [name for name, process in self.app.running.items() if process.poll() is not None]

    def stopped(self):
        """The names of processes that are stopped by a signal."""
        return [name for name, process in self.app.running.items() if is_stopped(process.pid)]

    def consumers(self):
        """The connections to Redis that wait for a message. Redis sends the next message to one of them."""
        mine = str(self.redis.get_connection_kwargs()["db"])
        return [one["id"] for one in self.redis.client_list() if one["db"] == mine and "b" in one["flags"]]

    def signal(self, name, number):
        os.killpg(self.app.running[name].pid, number)

    def cut_database(self):
        """Terminate every connection to the app's database, also in the middle of a statement."""
        ours = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        self.app.rows(f"{ours} and pid <> pg_backend_pid()")

    # -- Afterwards ----------------------------------------------------------------------------------------------

    def is_quiet(self):
        return not self.app.value(QUIET) and not self.app.value(HELD)

    def finish(self, seconds=60):
        """Wait until every job has ended; assert that the oracle finds nothing, and return the seconds it took.

        `seconds` is the timeout at a time scale of 20.
        """
        started = time.monotonic()
        self._wait_until_quiet(started + seconds * 20 / self.scale)
        took = time.monotonic() - started
        violations = self.violations()
        if violations:
            # A late message makes a worker hold the lease for a moment. What is really wrong stays wrong.
            self._wait_until_quiet(time.monotonic() + 10)
            violations = self.violations()
        assert not violations, "\n".join(violations)
        return took

    def _wait_until_quiet(self, deadline):
        while not self.is_quiet():
            jobs = "select id, state, wait_reason, wait_code, wait_until from defer_job where state <> 'finished'"
            assert time.monotonic() < deadline, f"not quiet: {self.app.rows(jobs)}"
            time.sleep(0.05)

    def violations(self):
        """What the oracle and the search for secrets find now."""
        return oracle.violations(self.sandbox, self.app.rows) + self.leaks()

    def leaks(self):
        """The places that hold a secret, among the logs, the journal and the traffic to Redis."""
        places = {path.name: path.read_text(errors="replace") for path in self.directory.glob("*.log")}
        del places["sandbox.log"]
        places["journal"] = oracle.journal(self.app.rows)
        places["redis"] = b"".join(list(self.wire.seen)).decode(errors="replace")
        return oracle.leaks(oracle.secrets_of(self.sandbox), places)

    def outcomes(self, job):
        """The number of items of a job by state and code: {("done", ""): 20}."""
        query = "select state, code, count(*) from defer_jobitem where job_id = ? group by state, code"
        return {(state, code): number for state, code, number in self.app.rows(query, [job])}

    def batches(self, portal="acme"):
        """The batches of changes that the portal has received."""
        return [
            request
            for request in self.sandbox.requests(portal)
            if any(command[1] == "tasks.task.defer" for command in request["commands"])
        ]


def is_stopped(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def is_lost(request, seconds=60.0):
    """Whether a batch's answer never arrived, or took longer than these seconds."""
    return request["method"] == "batch" and (request["status"] is None or request["milliseconds"] > seconds * 1000)


def tasks_of(batch):
    """The tasks that a batch of changes names, including those that the portal did not process."""
    return {int(key[1:]) for key in batch["params"]["cmd"]}


def touches(request, tasks):
    """Whether a request reads or changes one of these tasks."""
    if request["method"] == "batch":
        return bool(tasks_of(request) & tasks)
    return bool(set(map(int, request["params"]["filter"]["ID"])) & tasks)
