"""Runs the contests and writes the table: `python -m tests.bench`, or `--quick` for a first impression."""

import tests.environment  # noqa: F401, I001  first: no settings of this machine

import argparse
import datetime
import os
import platform
import tempfile
import threading
import uuid
from pathlib import Path

from tests import machine
from tests.bench import report
from tests.bench.arena import Arena, Cell
from tests.bench.contestants import Library, OneByOne, Ours
from tests.conftest import create_database, database_url, drop_database, settings_for
from tests.judges.tls import Authority, Front
from tests.processes import App
from tests.sandbox_client import free_ports

COSTS = (0.05, 0.1, 0.33)  # seconds per command
FULL = [Cell(tasks, cost) for tasks in (20, 500) for cost in COSTS]
HUGE = [Cell(5000, cost, scale=20) for cost in COSTS]
FAULTY = [Cell(500, 0.1, scale=20, faults=0.05)]
QUICK = [*(Cell(tasks, cost, scale=10) for tasks in (20, 500) for cost in (0.05,)), *FAULTY]
BROKER = machine.REDIS_URL.rpartition("/")[0] + "/13"  # the tests empty the one that they are given


def main():
    words = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    words.add_argument("--quick", action="store_true", help="scaled, in under three minutes; writes no document")
    words.add_argument("--out", type=Path, default=machine.ROOT / "docs" / "benchmarks.md")
    arguments = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="defer-bench-") as directory, Rig(Path(directory)) as rig:
        results = report.Results(machine_line(rig))
        if arguments.quick:
            rig.contest(QUICK, results, rig.everybody)
        else:
            results.document = arguments.out
            slow = [threading.Thread(target=rig.contest_aside, args=(cell, results), daemon=True) for cell in FULL]
            for thread in slow:
                thread.start()
            rig.contest(FAULTY, results, rig.everybody)
            rig.contest([*FULL, *HUGE], results, rig.batchers)
            for thread in slow:
                thread.join()
        print(results.table())


def machine_line(rig):
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{today}, {os.cpu_count()} × {platform.machine()}, Python {platform.python_version()}, {rig.servers}"


class Rig:
    """Everything that runs: an arena, our app, and the libraries' environments."""

    def __init__(self, directory):
        self.directory = directory

    def __enter__(self):
        port = free_ports(1)[0]
        self.arena = Arena(self.directory / "arena", port)
        self.asides = []
        self.database = None
        has_servers = machine.postgres_answers() and machine.redis_answers()
        self.servers = "PostgreSQL and Redis" if has_servers else "SQLite and files"
        if has_servers:
            self.database = f"defer_bench_{uuid.uuid4().hex[:8]}"
            create_database(self.database)
        address = database_url(self.database) if has_servers else f"sqlite:///{self.directory / 'app.sqlite3'}"
        own = {"CELERY_BROKER_URL": BROKER if has_servers else "filesystem://"}
        self.app = App(self.directory, port, address, settings_for(self.arena.sandbox) | own)
        self.app.manage("migrate")
        ours = Ours(self.app)
        self.batchers = [ours, *self._libraries()]
        self.arena.prepare(Cell(200, 0.0))
        ours.open(self.arena)
        ours.measure_client(self.arena)
        self.everybody = [*self.batchers, OneByOne()]
        return self

    def __exit__(self, *_):
        self.app.kill_all()
        for front in self.fronts:
            front.close()
        self.arena.close()
        for arena in self.asides:
            arena.close()
        if self.database:
            drop_database(self.database)

    def _libraries(self):
        self.fronts = []
        found = []
        if python := machine.pysdk_python():
            authority = Authority(self.directory)
            self.fronts.append(Front(self.arena.sandbox.portals["acme"], authority.context()))
            host = self.fronts[0].host
            found.append(Library("b24pysdk call_batches", python, "speak_pysdk.py", host, authority.path))
        if python := machine.python_with(Path(__file__).parent / "fast.txt"):
            found.append(Library("fast_bitrix24", python, "speak_fast.py"))
        return found

    def contest(self, cells, results, contestants, arena=None):
        arena = arena or self.arena
        for cell in cells:
            for contestant in contestants:
                arena.prepare(cell)
                contestant.ready(arena, cell)
                arena.begin(cell)
                result = contestant.compete(arena, cell)
                arena.sandbox.clear_faults()
                results.add(cell, contestant, result, arena, arena.wrong(result.deferred))

    def contest_aside(self, cell, results):
        """One call at a time takes minutes and hardly any processor: at a portal of its own, meanwhile."""
        arena = Arena(self.directory / f"aside-{cell.tasks}-{cell.cost}", free_ports(1)[0])
        self.asides.append(arena)
        self.contest([cell], results, [OneByOne()], arena)


if __name__ == "__main__":
    main()
