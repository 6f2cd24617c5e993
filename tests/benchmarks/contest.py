"""The processes of the benchmark, and the contests in their order."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import redis

from tests import machine
from tests.benchmarks.arena import FAULTS, SCALE, Arena, Cell
from tests.benchmarks.contestants import Library, OneByOne, Ours
from tests.benchmarks.report import Row
from tests.conformance.tls import Authority
from tests.conftest import create_database, database_url, drop_database, settings_for
from tests.processes import App
from tests.sandbox_client import free_ports

COSTS = (0.05, 0.1, 0.33)  # seconds per command
# Time scale at which a command still takes 40 ms: a client's computing time cannot be scaled.
SCALES = {0.05: 1.25, 0.1: 2.5, 0.33: 8.25}
SMALL = [Cell(20, cost) for cost in COSTS]
MEDIUM = [Cell(500, cost) for cost in COSTS]
HUGE = [Cell(5000, cost, SCALES[cost]) for cost in COSTS]
FAULTY = [replace(cell, scale=SCALE, faults=FAULTS) for cell in SMALL + MEDIUM]
HUGE_FAULTY = [replace(cell, scale=SCALE, faults=FAULTS) for cell in HUGE]
QUICK = [Cell(20, 0.05, 10), Cell(500, 0.05, 10), Cell(500, 0.1, SCALE, FAULTS)]
MEASURED = 600  # tasks to measure our client alone
EMBEDDED = "filesystem://"  # the broker that needs no server


def cell_of(words):
    """The cell that "tasks,t" or "tasks,t,faults" stands for."""
    tasks, cost, *faults = words.split(",")
    known = SMALL + MEDIUM + HUGE + FAULTY + HUGE_FAULTY
    asked = Cell(int(tasks), float(cost), faults=float(faults[0]) if faults else 0.0)
    return next((cell for cell in known if replace(cell, scale=asked.scale) == asked), asked)


class Rig:
    """Our app with its arena, and each other contestant with its own arena."""

    def __init__(self, directory):
        self.directory = directory
        self.arenas, self.databases, self.apps = [], [], []
        self.lock = threading.Lock()

    def __enter__(self):
        self.port = free_ports(1)[0]
        with redis.from_url(machine.REDIS_URL) as client:
            client.flushdb()
        self.arena = self.new_arena("ours")
        self.app = self.app_at(self.arena.sandbox, self.directory, self.new_database(), machine.REDIS_URL)
        self.app.manage("migrate")
        self.ours, self.naive, self.libraries = Ours(self.app), OneByOne(), list(self._libraries())
        return self

    def __exit__(self, *_):
        for app in self.apps:
            app.kill_all()
        for arena in self.arenas:
            arena.close()
        for name in self.databases:
            drop_database(name)

    def app_at(self, sandbox, directory, database, broker):
        """Create a deployment of our app that uses this sandbox."""
        directory.mkdir(exist_ok=True)
        own = {"CELERY_BROKER_URL": broker, "TIME_SCALE": "1"}
        self.apps.append(App(directory, self.port, database_url(database), settings_for(sandbox) | own))
        return self.apps[-1]

    def new_database(self):
        self.databases.append(f"defer_bench_{uuid.uuid4().hex[:8]}")
        create_database(self.databases[-1])
        return self.databases[-1]

    def new_arena(self, name):
        arena = Arena(self.directory / name, self.port)
        with self.lock:
            self.arenas.append(arena)
        return arena

    def _libraries(self):
        """The contestants that can be installed here."""
        if python := machine.pysdk_python():
            yield Library("b24pysdk call_batches", python, "speak_pysdk.py", Authority(self.directory))
        if python := machine.python_with(Path(__file__).parent / "fast.txt"):
            yield Library("fast_bitrix24", python, "speak_fast.py")

    # -- Contests ----------------------------------------------------------------------------------------------

    def contest(self, cells, results, contestant, arena):
        """Run the cells without a result, one after the other."""
        for cell in cells:
            if results.has(cell, contestant.name):
                continue
            arena.prepare(cell)
            contestant.ready(arena, cell)
            arena.begin(cell)
            result = contestant.compete(arena, cell)
            arena.sandbox.clear_faults()
            with self.lock:
                results.add(Row.of(cell, contestant, result, arena))

    def measure_client(self):
        """Measure our client first, while the machine is idle."""
        self.arena.prepare(Cell(MEASURED, 0.0))
        self.ours.open(self.arena)
        self.ours.measure_client(self.arena)

    def ours_contest(self, cells, results):
        """Run the contests of our app."""
        if all(results.has(cell, self.ours.name) for cell in cells):
            return
        self.contest(cells, results, self.ours, self.arena)
        self.app.kill_all()

    def aside(self, pool, contestants, cells, results):
        """Start the others in parallel, each at its own portal; return the futures."""
        return [
            pool.submit(self.contest, cells, results, contestant, self.new_arena(f"aside-{len(self.arenas)}"))
            for contestant in contestants
            if not all(results.has(cell, contestant.name) for cell in cells)
        ]

    def ourselves_aside(self, pool, cells, results):
        """Start a second deployment of our app in parallel, for contests in which only outcomes count."""
        arena = self.new_arena("ours-aside")
        app = self.app_at(arena.sandbox, self.directory / "app-aside", self.new_database(), EMBEDDED)
        app.manage("migrate")
        return pool.submit(self.contest, cells, results, Ours(app), arena)

    def run_all(self, results):
        """Run all contests. The others and those with faults run in parallel, as they mostly wait.

        Our contests over thousands of tasks without faults need the processor, so they start after all parallel ones.
        """
        self.measure_client()
        pool = ThreadPoolExecutor(8)
        try:
            aside = [self.ourselves_aside(pool, FAULTY, results)]
            for small, medium in zip(SMALL, MEDIUM, strict=True):
                aside += self.aside(pool, [self.naive], [small, medium], results)
            aside += self.aside(pool, self.libraries, SMALL + MEDIUM + FAULTY + HUGE + HUGE_FAULTY, results)
            aside += self.aside(pool, [self.naive], FAULTY, results)
            self.ours_contest(SMALL + MEDIUM, results)
            self.ours_contest(HUGE_FAULTY, results)
            wait_for(aside)
            self.ours_contest(HUGE, results)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # running contests end with their portal


def wait_for(contests):
    """Wait until the futures are done. Raises what one of them raised."""
    for contest in contests:
        contest.result()
