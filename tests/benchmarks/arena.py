"""A sandbox portal for the contests: its costs, its limits, and its log of changes."""

import time
from collections import Counter
from dataclasses import dataclass, replace

from tests.benchmarks import theory
from tests.sandbox_client import Sandbox

PORTAL = "acme"
TITLE = "Something by Friday"
DESCRIPTION = "Once upon a time somebody had to do something by Friday. " * 14  # a full task is about 6 KB
METHODS = ("tasks.task.pause", "tasks.task.defer", "tasks.task.start")
PROBED = 25  # tasks for the measurements
SCALE = 20  # time scale of contests in which only outcomes count
FAULTS = 0.05  # share of failing requests, in contests with faults


@dataclass(frozen=True)
class Cell:
    """One contest: tasks in progress, seconds per command, and the time scale."""

    tasks: int
    cost: float
    scale: float = 1.0
    faults: float = 0.0  # share of requests whose answer is lost or is an error page of a proxy


class Arena:
    """A separate sandbox in which Bob owns all tasks."""

    def __init__(self, directory, app_port):
        directory.mkdir(parents=True, exist_ok=True)
        self.sandbox = Sandbox.start(directory, (PORTAL,), app_origin=f"http://127.0.0.1:{app_port}")

    def close(self):
        self.sandbox.stop()

    def prepare(self, cell):
        """Prepare a fresh portal with the cell's tasks, costs and limits; measure its speed."""
        sandbox = self.sandbox
        sandbox.reset()
        self.bob = sandbox.user(PORTAL, name="Bob", last_name="Worker")
        sandbox.install(PORTAL)
        full = {"creator": self.bob, "status": 3, "title": TITLE, "description": DESCRIPTION}
        probed = sandbox.tasks(PORTAL, count=PROBED, **full)
        self.ids = sandbox.tasks(PORTAL, count=cell.tasks, **full)
        self.opening = sandbox.open(PORTAL, self.bob, "TASK_USER_LIST_TOOLBAR", {"USER_ID": str(self.bob)})
        self.bare = self._measure(probed)
        self.measured = replace(self.bare, command=max(self.bare.command, cell.cost / cell.scale))
        set_limits(sandbox, PORTAL, cell, self.measured.command - self.bare.command)

    def begin(self, cell):
        """Start to count requests and to lose answers."""
        if cell.faults:
            page = {"status": 502, "body": "<html>Bad Gateway</html>"}
            often = {"portal": PORTAL, "times": -1, "probability": cell.faults / 2}
            self.sandbox.fault("*", "drop", **often)
            self.sandbox.fault("*", "replace", **often, **page)
        self.since = self.sandbox.requests(PORTAL)[-1]["id"]

    def _measure(self, probed):
        """Measure the portal's speed while its commands cost nothing."""
        token = self.opening["access"]
        reading = {"filter": {"ID": (self.ids + probed)[:50]}, "select": ["ID", "STATUS"], "start": -1}
        commands = {f"{m[11]}{id}": f"{m}?taskId={id}" for id in probed for m in METHODS[:2]}
        self.sandbox.rest(PORTAL, "profile", {}, token)
        read = timed(lambda: self.sandbox.rest(PORTAL, "tasks.task.list", reading, token))[0]
        took, answer = timed(lambda: self.sandbox.batch(PORTAL, commands, token))
        result = answer.json()["result"]
        assert len(result["result"]) == len(commands), result["result_error"]
        self.bytes_per_task = len(answer.content) / len(commands)
        spent = self.sandbox.requests(PORTAL)[-1]["milliseconds"] / 1000
        return theory.Measured(spent / len(commands), max(0.0, took - spent), read)

    # -- After a contest ----------------------------------------------------------------------------------

    def counts(self):
        """The number of requests, and of those rejected by each of the two limits."""
        rows = self.sandbox.requests(PORTAL, self.since)
        codes = Counter(row["code"] for row in rows)
        codes.update(command[3] for row in rows for command in row["commands"])
        return len(rows), codes["QUERY_LIMIT_EXCEEDED"], codes["OPERATION_TIME_LIMIT"]

    def measured_meanwhile(self):
        """The portal's speed during the contest: a busy machine must not count against the contestant."""
        rows = [row for row in self.sandbox.requests(PORTAL, self.since) if row["status"] == 200]
        acts = [row for row in rows if "task.list" not in row["method"]]
        commands = sum(len(row["commands"]) or 1 for row in acts)
        if not commands:
            return self.measured
        spent = sum(row["milliseconds"] for row in acts) / 1000
        return replace(self.measured, command=spent / commands)

    def wrong(self, reported):
        """Tasks that the contestant misreports, and tasks that it left paused."""
        states = self.sandbox.states(PORTAL, self.ids)
        return sum((states[id] == 6) != (id in reported) or states[id] == 2 for id in self.ids)


def set_limits(sandbox, portal, cell, slept):
    """Set the cost of commands, and scale all time limits.

    `slept` is the time that a command sleeps, in seconds: its cost without the sandbox's own work.
    """
    sandbox.turn({f"{portal}/cost.{method}": cell.cost for method in METHODS})
    sandbox.turn({"cost.sleep": slept / cell.cost if cell.cost else 0, "cost.told": 1 / cell.scale})
    sandbox.turn(
        {f"{portal}/limits.operating_window": 600 / cell.scale, f"{portal}/limits.bucket_drain": 2 * cell.scale}
    )


def timed(call):
    started = time.monotonic()
    result = call()
    return time.monotonic() - started, result
