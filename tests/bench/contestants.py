"""Who competes. Each gets ready, then defers the arena's tasks and says which of them it believes deferred."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import requests

from tests.bench.arena import PORTAL
from tests.processes import wait_until

HERE = Path(__file__).parent
PATIENCE = 1.0  # seconds that one call at a time waits after QUERY_LIMIT_EXCEEDED
LONGEST = 3600  # seconds


@dataclass
class Result:
    """How a contestant fared. CPU is the client's own, in milliseconds per fifty commands; None: not measured."""

    seconds: float
    deferred: set
    cpu: float | None = None
    first: float | None = None  # seconds until the first task was known to be deferred
    worker: float | None = None  # the same of our whole worker, database and broker included
    remark: str = ""


class Ours:
    """A real worker and beat, with a database of their own."""

    name = "Defer"
    is_serial = True  # one request after the other

    def __init__(self, app):
        self.app = app

    def ready(self, arena, cell):
        self.app.settings["TIME_SCALE"] = str(cell.scale)
        self.app.kill_all()
        self.app.python("from b24app.models import Portal; Portal.objects.all().delete()")  # nothing learned before
        self.open(arena)
        self.app.start("worker", "beat")

    def open(self, arena):
        """Bob opens the app, so that we have his credential."""
        opening = json.dumps([arena.opening["query"], arena.opening["fields"]])
        self.person = int(
            self.app.python(
                f"""
import json
from b24app import portals
from b24app.bitrix.client import Command
from b24app.bitrix.payloads import read_opening
read = read_opening(*json.loads({opening!r}))
print(portals.open_page(read, Command("me2", "profile"), timeout=10).person.pk)"""
            )
        )

    def compete(self, arena, cell):
        cpu_before = self._worker_cpu()
        job = self.start_job(self.person, arena.ids)
        wait_until(lambda: self._job("finished_at", job), LONGEST, "the job to end", pause=0.25)
        created, finished = self._job("created_at", job), self._job("finished_at", job)
        own = "where item_id in (select id from defer_jobitem where job_id = ?)"
        first = moment(self.app.value(f"select min(created_at) from defer_deferral {own}", [job]))
        done = self.app.rows("select task_id from defer_jobitem where job_id = ? and state = 'done'", [job])
        worker = (self._worker_cpu() - cpu_before) * 1000 / (2 * len(arena.ids)) * 50
        return Result(
            (finished - created).total_seconds(),
            {id for (id,) in done},
            self.cpu,
            first=(first - created).total_seconds() if first else None,
            worker=worker,
        )

    def start_job(self, person, ids):
        """A job as the dialog starts it, its selection ready."""
        return int(
            self.app.python(
                f"""
from b24app import dates, deferrals, jobs
from b24app.models import Person, SelectedTask, Selection
person = Person.objects.get(pk={person})
selection = Selection.objects.create(person=person, state="ready", created_at=dates.now())
SelectedTask.objects.bulk_create(SelectedTask(selection=selection, task_id=id, status=3) for id in {ids})
job = deferrals.start(person, selection, "", f"bench-{{selection.pk}}")
jobs.hint(jobs.run_slice, person.portal_id)
print(job.pk)"""
            )
        )

    def measure_client(self, arena):
        """Learn what our client itself computes for a batch of fifty, full answers included, without a database."""
        self.cpu = float(
            self.app.python(
                f"""
import time
from dataclasses import replace
from b24app import credentials
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
print(credentials.ask(Person.objects.get(pk={self.person}), send_all) * 1000 / len(batches))"""
            )
        )

    def _job(self, column, job):
        return moment(self.app.value(f"select {column} from defer_job where id = ?", [job]))

    def _worker_cpu(self):
        """Seconds of processor time that the worker has used."""
        fields = Path(f"/proc/{self.app.running['worker'].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def moment(value):
    return datetime.fromisoformat(value) if isinstance(value, str) else value


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
        """Whether the portal says that it did it; a full bucket is waited for."""
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
    """Somebody else's library, in an environment and a process of its own, as its documentation uses it."""

    is_serial = False  # as far as we know

    def __init__(self, name, python, speaker, host=None, authority=""):
        self.name, self.python, self.speaker, self.host = name, python, speaker, host
        self.environment = os.environ | ({"REQUESTS_CA_BUNDLE": str(authority)} if authority else {})

    def ready(self, arena, cell):
        self.wish = {
            "portal": self.host or arena.sandbox.portals[PORTAL],
            "access": arena.opening["access"],
            "refresh": arena.opening["refresh"],
            "client_id": arena.sandbox.client_id,
            "client_secret": arena.sandbox.client_secret,
            "scale": cell.scale,
            "allowance": 50 * max(0.0, arena.measured.command - cell.cost / cell.scale),
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
        assert run.returncode == 0, run.stderr
        said = json.loads(run.stdout.splitlines()[-1])
        cpu = said["cpu"] * 1000 / (2 * len(arena.ids)) * 50
        return Result(said["seconds"], set(said["deferred"]), cpu, remark=said["raised"])
