"""The results of a run: kept in files, so that it can be resumed, and written to docs/benchmarks.md."""

import json
import statistics
from dataclasses import asdict, dataclass

from tests.benchmarks import theory
from tests.benchmarks.arena import FAULTS, SCALE
from tests.benchmarks.contestants import PATIENCE, OneByOne, Ours

TIME_OVER = 1.05, 1.0  # times T_opt, and seconds beyond that
FIRST_PROGRESS = 3.0  # seconds
FEWER_REQUESTS, FROM_TASKS = 25, 500  # by this factor fewer than one call at a time makes, from so many tasks on
CLIENT_CPU = 5.0  # milliseconds per 50 commands
HUGE = 5000  # tasks: from here on one call at a time is not run, as it would take hours

HEAD = (
    "| tasks | t, s | × time | who | time, s | T_opt, s | time / T_opt | first, s | requests | 503 | 429 | wrong "
    "| wrong at 5 % faults | client CPU, ms / 50 | goals |"
)
FIGURES_HEAD = "| what | goal | measured | |"

EXPLAINED = f"""\
Each contestant defers tasks in progress. The sandbox has the limits of a portal and answers of real size.

- *t* is the cost of one command at the portal. *× time*: costs, limits, waits and the times in the row are divided by
  this number. What a client computes cannot be divided, so a command still takes 40 ms.
- *T_opt* is the shortest possible time: ⌈N/25⌉·r + 2·N·t + ⌈N/50⌉·t_list, plus the waits that the limits force. r and
  t_list are measured before each contest, t during it, as the portal sees it.
- *wrong*: tasks about which the contestant reports something untrue, or that it left paused.
- *wrong at 5 % faults*: the same in a separate contest, {SCALE} times faster. 5 % of the requests are executed, but
  their answer is lost or replaced by a proxy's error page. No other goal counts there.
- *client CPU* is that of the REST client alone. For a library, it is that of its process.
- *goals* of {Ours.name}, in every row: time ≤ 1.05 · T_opt + 1 s; nothing wrong; first progress ≤ {FIRST_PROGRESS:g} s;
  ≤ 1/{FEWER_REQUESTS} of the requests of one call at a time from {FROM_TASKS} tasks on; client CPU ≤ {CLIENT_CPU:g} ms.

All contestants run at the same time, each at its own portal. {Ours.name} runs one contest after the other."""


@dataclass(frozen=True)
class Row:
    """The result of one contestant in one cell. Seconds are wall-clock seconds."""

    tasks: int
    cost: float
    scale: float
    faults: float
    who: str
    seconds: float
    shortest: float
    requests: int
    bucket_full: int  # answers 503
    time_spent: int  # answers 429
    wrong: int
    first: float | None = None
    cpu: float | None = None
    worker: float | None = None
    memory: float | None = None
    remark: str = ""
    expected: float | None = None  # seconds by the formula of one call at a time
    is_calculated: bool = False

    @classmethod
    def of(cls, cell, contestant, result, arena):
        portal = arena.measured_meanwhile() if contestant.is_serial else arena.measured
        requests, bucket_full, time_spent = arena.counts()
        is_naive = isinstance(contestant, OneByOne) and cell.scale == 1
        return cls(
            **asdict(cell),
            who=contestant.name,
            seconds=result.seconds,
            shortest=theory.shortest(cell.tasks, portal, cell.scale, cell.cost),
            requests=requests,
            bucket_full=bucket_full,
            time_spent=time_spent,
            wrong=arena.wrong(result.deferred),
            first=result.first,
            cpu=result.cpu,
            worker=result.worker,
            memory=result.memory,
            remark=result.remark,
            expected=theory.one_by_one(cell.tasks, portal, PATIENCE) if is_naive else None,
        )

    @property
    def name(self):
        faults = f", {self.faults:.0%} faults" if self.faults else ""
        return f"{self.tasks:,} tasks, t = {self.cost:g}{faults}"

    def missed(self):
        """The goals that a row of our app misses, in a few words each."""
        factor, seconds = TIME_OVER
        naive = 2 * self.tasks
        checks = {f"{self.wrong} wrong": self.wrong > 0}
        if not self.faults:
            checks |= {
                f"{self.seconds:.1f} s": self.seconds > factor * self.shortest + seconds,
                f"first after {self.first or 0:.1f} s": self.first is None or self.first > FIRST_PROGRESS,
                f"{self.requests} requests": self.tasks >= FROM_TASKS and self.requests * FEWER_REQUESTS > naive,
                f"CPU {self.cpu or 0:.1f} ms": self.cpu is None or self.cpu > CLIENT_CPU,
            }
        return [words for words, is_missed in checks.items() if is_missed]


@dataclass(frozen=True)
class Figure:
    """A figure outside the contests: the measured value and its maximum."""

    what: str
    most: float
    unit: str
    measured: float

    @property
    def is_missed(self):
        return self.measured > self.most


class Results:
    """The rows and figures of a run, kept in `directory` one by one."""

    def __init__(self, machine, directory):
        self.machine, self.directory = machine, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.rows = [Row(**json.loads(path.read_text())) for path in sorted(directory.glob("row-*"))]
        self.figures = [Figure(**json.loads(path.read_text())) for path in sorted(directory.glob("figure-*"))]

    def has(self, cell, who):
        return self.row(cell.tasks, cell.cost, cell.faults, who) is not None

    def row(self, tasks, cost, faults, who):
        wanted = (tasks, cost, faults, who)
        return next((row for row in self.rows if (row.tasks, row.cost, row.faults, row.who) == wanted), None)

    def add(self, row):
        self.rows.append(row)
        self._keep(f"row-{len(self.rows):03}", row)
        print("  ".join(self._cells(row)), flush=True)
        if row.worker is not None:
            print(f"    worker: {row.worker:.0f} ms of CPU per 50 commands", flush=True)

    def has_figures_of(self, story):
        return (self.directory / f"done-{story}").exists()

    def add_figures(self, story, figures):
        for figure in figures:
            self.figures.append(figure)
            self._keep(f"figure-{len(self.figures):03}", figure)
            print(f"{figure.what}: {figure.measured:.2f} {figure.unit}", flush=True)
        (self.directory / f"done-{story}").touch()

    def _keep(self, name, found):
        draft = self.directory / "draft"
        draft.write_text(json.dumps(asdict(found)))
        draft.rename(self.directory / name)

    def forget(self):
        """Delete the results, so that the next run starts from the beginning."""
        for path in self.directory.iterdir():
            path.unlink()

    # -- Goals ---------------------------------------------------------------------------------------

    def missed(self):
        """The missed goals, one sentence each."""
        ours = [row for row in self.rows if row.who == Ours.name]
        return [f"{row.name}: {', '.join(words)}" for row in ours if (words := row.missed())] + [
            f"{figure.what}: {figure.measured:.1f} {figure.unit}, more than {figure.most:g}"
            for figure in self.figures
            if figure.is_missed
        ]

    # -- Tables ------------------------------------------------------------------------------------------------

    def document(self):
        parts = [
            "# Benchmarks",
            f"`make bench` wrote this: {self.machine}.",
            "## Beside others",
            self.table(),
            self._below(),
            EXPLAINED,
            "## Other budgets",
            self.figures_table(),
        ]
        return "\n\n".join(parts) + "\n"

    def table(self):
        """A row for each contest without faults; a column has the result of the same contest with faults."""
        plain = [row for row in self.rows if not row.faults] + self._calculated()
        plain.sort(key=lambda row: (row.tasks, row.cost))
        faulty = [row for row in self.rows if row.faults and not self.row(row.tasks, row.cost, 0.0, row.who)]
        return as_table(HEAD, [self._cells(row) for row in plain + faulty])

    def figures_table(self):
        return as_table(
            FIGURES_HEAD,
            [
                (
                    figure.what,
                    f"≤ {figure.most:g} {figure.unit}".strip(),
                    f"{figure.measured:.4g} {figure.unit}".strip(),
                    "missed" if figure.is_missed else "held",
                )
                for figure in self.figures
            ],
        )

    def _cells(self, row):
        faulty = self.row(row.tasks, row.cost, FAULTS, row.who)
        goals = ""
        if row.who == Ours.name:
            missed = row.missed() + (faulty.missed() if faulty and faulty is not row else [])
            goals = f"missed: {', '.join(missed)}" if missed else "held"
        return [
            f"{row.tasks:,}" + (f", {row.faults:.0%} faults" if row.faults else ""),
            f"{row.cost:g}",
            f"{row.scale:g}",
            f"{row.who}" + (f" ({row.remark})" if row.remark else ""),
            f"{row.seconds:.1f}",
            "" if row.is_calculated else f"{row.shortest:.1f}",
            "" if row.is_calculated else f"{row.seconds / row.shortest:.2f}",
            "" if row.first is None else f"{row.first:.1f}",
            f"{row.requests:,}",
            "" if row.is_calculated else f"{row.bucket_full}",
            "" if row.is_calculated else f"{row.time_spent}",
            "" if row.is_calculated else f"{row.wrong}",
            f"{faulty.wrong}" if faulty else "",
            "" if row.cpu is None else f"{row.cpu:.1f}",
            goals,
        ]

    def _calculated(self):
        """The estimated time of one call at a time for cells in which it is not run."""
        ours = [row for row in self.rows if row.who == Ours.name and row.tasks == HUGE and not row.faults]
        return [
            Row(
                tasks=row.tasks,
                cost=row.cost,
                scale=row.scale,
                faults=0.0,
                who=OneByOne.name,
                remark="by the formula",
                seconds=theory.one_by_one(row.tasks, theory.Measured(row.cost, 0.0, 0.0), PATIENCE) / row.scale,
                shortest=0.0,
                requests=2 * row.tasks,
                bucket_full=0,
                time_spent=0,
                wrong=0,
                is_calculated=True,
            )
            for row in ours
        ]

    def _below(self):
        ratios = [f"{row.seconds / row.expected:.2f} at t = {row.cost:g}" for row in self.rows if row.expected]
        spent = [row.worker for row in self.rows if row.worker is not None and row.tasks >= FROM_TASKS]
        said = []
        if ratios:
            said.append(f"One call at a time took, of what its formula says: {'; '.join(ratios)}.")
        if spent:
            said.append(
                f"Our whole worker, database and broker included, used {statistics.median(spent):.0f} ms of CPU"
                f" per 50 commands, {max(spent):.0f} at most."
            )
        return "\n".join(said)


def as_table(head, rows):
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *("| " + " | ".join(row) + " |" for row in rows)])
