"""The contestants. Each prepares, defers the arena's tasks, and reports which tasks it deferred."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.benchmarks.arena import PORTAL
from tests.conformance.tls import Front
from tests.processes import wait_until

HERE = Path(__file__).parent
PATIENCE = 2.0  # seconds that one call at a time waits after QUERY_LIMIT_EXCEEDED; one second is too short
LONGEST = 3600  # seconds
WARM = 500  # tasks after which a worker's memory is stable


@dataclass
class Result:
    """A contestant's result. CPU is that of the client, in milliseconds per fifty commands; None: not measured."""

    seconds: float
    deferred: set
    cpu: float | None = None
    first: float | None = None  # seconds until the first task was known to be deferred
    worker: float | None = None  # the CPU of our whole worker, database and broker included
    memory: float | None = None  # largest change of our warm worker's resident memory, in MB
    remark: str = ""


class Ours:
    """A real worker and beat, with a database of their own."""

    name = "Defer"
    is_serial = True  # one request at a time

    def __init__(self, app):
        self.app, self.cpu = app, None

    def ready(self, arena, cell):
        if self.app.running and self.app.settings["TIME_SCALE"] != str(cell.scale):
            self.app.kill_all()
        self.app.settings["TIME_SCALE"] = str(cell.scale)
        self.app.rows_changed("truncate defer_portal cascade")  # without earlier measurements
        self.open(arena)
        if not self.app.running:
            self.app.start("worker", "beat")

    def open(self, arena):
        """Bob opens the app, so that we have his credential."""
        self.person = open_app(self.app, arena.opening)

    def compete(self, arena, cell):
        cpu_before = self._worker_cpu()
        job = start_job(self.app, self.person, arena.ids)
        memory = []

        def has_finished():
            done, finished = self.app.rows("select done, finished_at from defer_job where id = ?", [job])[0]
            if WARM <= done < len(arena.ids):
                memory.append(self._worker_memory())
            return finished

        finished = wait_until(has_finished, LONGEST, "the job to end", pause=0.25)
        created = self.app.value("select created_at from defer_job where id = ?", [job])
        own = "where item_id in (select id from defer_jobitem where job_id = ?)"
        first = self.app.value(f"select min(created_at) from defer_deferral {own}", [job])
        done = self.app.rows("select task_id from defer_jobitem where job_id = ? and state = 'done'", [job])
        worker = (self._worker_cpu() - cpu_before) * 1000 / (2 * len(arena.ids)) * 50
        return Result(
            (finished - created).total_seconds(),
            {id for (id,) in done},
            self.cpu,
            first=(first - created).total_seconds() if first else None,
            worker=worker,
            memory=max((abs(each - memory[0]) for each in memory), default=None),
        )

    def measure_client(self, arena):
        """Measure our client's CPU for a batch of fifty with full answers, without a database."""
        self.cpu = float(
            self.app.python(
                f"""
import time
from dataclasses import replace
from b24app.portals import clients
from b24app.bitrix import tasks
from b24app.models import Person
ids = {arena.ids}
batches = [ids[first : first + 25] for first in range(0, len(ids), 25)]
def send_all(client):
    bare = replace(client, before=lambda: None, after=lambda exchange: None)
    tasks.read_states(bare, ids[:1])  # the first request connects
    started = time.thread_time()
    for batch in batches:
        tasks.send(bare, [(id, act) for id in batch for act in (tasks.Act.PAUSE, tasks.Act.DEFER)])
    return time.thread_time() - started
print(clients.ask(Person.objects.get(pk={self.person}), send_all) * 1000 / len(batches))"""
            )
        )

    def _worker_cpu(self):
        """Seconds of processor time that the worker has used."""
        fields = Path(f"/proc/{self.app.running['worker'].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _worker_memory(self):
        """The worker's resident memory in megabytes."""
        pages = Path(f"/proc/{self.app.running['worker'].pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_app(app, opening):
    """Let the app prove an opening; return the id of the person whose credential it saved."""
    posted = json.dumps([opening["query"], opening["fields"]])
    return int(
        app.python(
            f"""
import json
from b24app.portals import openings
from b24app.bitrix.client import Command
from b24app.bitrix.payloads import read_opening
read = read_opening(*json.loads({posted!r}))
print(openings.open_page(read, Command("me2", "profile"), timeout=10).person.pk)"""
        )
    )


def start_job(app, person, ids):
    """Start a job as the dialog does, from a ready selection; return its id."""
    return int(
        app.python(
            f"""
from b24app.worker import messages
from b24app.models import Person
from tests.benchmarks import at_work
job = at_work.start_job(Person.objects.get(pk={person}), {ids})
messages.enqueue(job.portal_id)
print(job.pk)"""
        )
    )


class OneByOne:
    """One call at a time, as the vendor's CRest example does it: pause, then defer, a new connection each."""

    name = "one call at a time"
    is_serial = True

    def ready(self, arena, cell):
        pass

    def compete(self, arena, cell):
        started, cpu = time.monotonic(), time.thread_time()
        deferred, first = set(), None
        for id in arena.ids:
            if self._call(arena, cell, "tasks.task.pause", id) and self._call(arena, cell, "tasks.task.defer", id):
                deferred.add(id)
                first = first or time.monotonic() - started
        cpu = (time.thread_time() - cpu) * 1000 / (2 * len(arena.ids)) * 50
        return Result(time.monotonic() - started, deferred, cpu, first)

    def _call(self, arena, cell, method, id):
        """Call the method, again while the bucket is full; return whether the portal reports success."""
        while True:
            try:
                body = {"taskId": id, "auth": arena.opening["access"]}
                answer = requests.post(arena.sandbox.url(PORTAL, f"rest/{method}"), json=body, timeout=60).json()
            except (requests.RequestException, ValueError):
                return False
            if answer.get("error") != "QUERY_LIMIT_EXCEEDED":
                return "result" in answer
            time.sleep(PATIENCE / cell.scale)


class Library:
    """Another library in a separate environment and process, used as its documentation shows."""

    is_serial = False  # not known to be wrong

    def __init__(self, name, python, speaker, authority=None):
        """With an `authority` (conformance/tls.py), the library speaks TLS to a proxy in front of its arena."""
        self.name, self.python, self.speaker, self.authority = name, python, speaker, authority
        self.environment = os.environ | ({"REQUESTS_CA_BUNDLE": str(authority.path)} if authority else {})

    def ready(self, arena, cell):
        portal = arena.sandbox.portals[PORTAL]
        self.front = Front(portal, self.authority.context()) if self.authority else None
        self.wish = {
            "portal": self.front.host if self.front else portal,
            "access": arena.opening["access"],
            "refresh": arena.opening["refresh"],
            "client_id": arena.sandbox.client_id,
            "client_secret": arena.sandbox.client_secret,
            "scale": cell.scale,
            "allowance": 50 * arena.bare.command,
            "ids": arena.ids,
        }

    def compete(self, arena, cell):
        run = subprocess.run(
            [self.python, "-I", HERE / self.speaker],
            input=json.dumps(self.wish),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        if self.front:
            self.front.close()
        assert run.returncode == 0, run.stderr
        said = json.loads(run.stdout.splitlines()[-1])
        cpu = said["cpu"] * 1000 / (2 * len(arena.ids)) * 50
        return Result(said["seconds"], set(said["deferred"]), cpu, remark=said["raised"])
