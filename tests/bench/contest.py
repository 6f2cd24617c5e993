"""Everything that runs, and the contests in their order."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis

from tests import machine
from tests.bench.arena import FAULTS, SCALE, Arena, Cell
from tests.bench.contestants import Library, OneByOne, Ours
from tests.bench.report import Row
from tests.conftest import create_database, database_url, drop_database, settings_for
from tests.judges.tls import Authority
from tests.processes import App
from tests.sandbox_client import free_ports

COSTS = (0.05, 0.1, 0.33)  # seconds per command
SMALL = [Cell(20, cost) for cost in COSTS]
MEDIUM = [Cell(500, cost) for cost in COSTS]
HUGE = [Cell(5000, cost, SCALE) for cost in COSTS]
FAULTY = [Cell(cell.tasks, cell.cost, SCALE, FAULTS) for cell in SMALL + MEDIUM]
HUGE_AND_FAULTY = Cell(5000, COSTS[0], SCALE, FAULTS)
QUICK = [Cell(20, 0.05, 10), Cell(500, 0.05, 10), Cell(500, 0.1, SCALE, FAULTS)]


def cell_of(words):
    """The cell that "tasks,t" or "tasks,t,faults" stands for."""
    tasks, cost, *faults = words.split(",")
    scaled = faults or int(tasks) > MEDIUM[0].tasks
    return Cell(int(tasks), float(cost), SCALE if scaled else 1.0, *map(float, faults))


class Rig:
    """Everything that runs: our app, an arena for it, and the others with arenas of their own."""

    def __init__(self, directory):
        self.directory = directory
        self.arenas = []
        self.lock = threading.Lock()

    def __enter__(self):
        self.port = free_ports(1)[0]
        self.database = f"defer_bench_{uuid.uuid4().hex[:8]}"
        create_database(self.database)
        with redis.from_url(machine.REDIS_URL) as client:
            client.flushdb()
        self.arena = self.new_arena("ours")
        self.app = self.app_at(self.arena.sandbox, self.directory)
        self.app.manage("migrate")
        self.ours, self.naive, self.libraries = Ours(self.app), OneByOne(), list(self._libraries())
        return self

    def __exit__(self, *_):
        self.app.kill_all()
        for arena in self.arenas:
            arena.close()
        drop_database(self.database)

    def app_at(self, sandbox, directory):
        """Our app as this sandbox knows it."""
        directory.mkdir(exist_ok=True)
        own = {"CELERY_BROKER_URL": machine.REDIS_URL, "TIME_SCALE": "1"}
        return App(directory, self.port, database_url(self.database), settings_for(sandbox) | own)

    def new_arena(self, name):
        arena = Arena(self.directory / name, self.port)
        with self.lock:
            self.arenas.append(arena)
        return arena

    def _libraries(self):
        """Those that can be had."""
        if python := machine.pysdk_python():
            yield Library("b24pysdk call_batches", python, "speak_pysdk.py", Authority(self.directory))
        if python := machine.python_with(Path(__file__).parent / "fast.txt"):
            yield Library("fast_bitrix24", python, "speak_fast.py")

    # -- Contests ----------------------------------------------------------------------------------------------

    def contest(self, cells, results, contestant, arena):
        """One cell after the other, as far as there is no result yet."""
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

    def ours_contest(self, cells, results):
        """We compete alone at what may need the processor, and in front of those that mostly wait."""
        if all(results.has(cell, self.ours.name) for cell in cells):
            return
        if self.ours.cpu is None:
            self.arena.prepare(Cell(1000, 0.0))
            self.ours.open(self.arena)
            self.ours.measure_client(self.arena)
        self.contest(cells, results, self.ours, self.arena)
        self.app.kill_all()

    def aside(self, pool, contestants, cells, results):
        """Let others compete meanwhile, each at a portal of its own; what to wait for."""
        return [
            pool.submit(self.contest, cells, results, contestant, self.new_arena(f"aside-{len(self.arenas)}"))
            for contestant in contestants
            if not all(results.has(cell, contestant.name) for cell in cells)
        ]

    def run_all(self, results):
        """All contests. What only waits, waits side by side; where the processor is what counts, we are alone."""
        with ThreadPoolExecutor(8) as pool:
            slowest = [
                waiting
                for cells in zip(SMALL, MEDIUM, strict=True)
                for waiting in self.aside(pool, [self.naive], cells, results)
            ]
            others = self.aside(pool, self.libraries, SMALL + MEDIUM, results)
            self.ours_contest(SMALL + MEDIUM, results)
            wait_for(others)
            self.ours_contest(HUGE, results)
            wait_for(self.aside(pool, self.libraries, HUGE, results))
            others = self.aside(pool, [*self.libraries, self.naive], FAULTY, results)
            self.ours_contest([*FAULTY, HUGE_AND_FAULTY], results)
            wait_for(others + slowest)


def wait_for(contests):
    """Until they have ended. Raises what one of them raised."""
    for contest in contests:
        contest.result()
