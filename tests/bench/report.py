"""The table of a run, for the screen and for docs/benchmarks.md."""

from dataclasses import dataclass

from tests.bench import theory

HEAD = (
    "| tasks | t, s | × time | who | time, s | T_opt, s | time / T_opt | first, s | requests | 503 | 429 | wrong "
    "| client CPU, ms / 50 |"
)

EXPLAINED = """Tasks in progress are deferred at a sandbox with a portal's real limits and answers of real size.
*t* is what one command costs there. *× time*: costs, limits and waits are divided by this.
*T_opt* is ⌈N/25⌉·r + 2·N·t + ⌈N/50⌉·t_list and the waits that the limits force; r and t_list are measured ahead of each
contest, t (which holds the sandbox's own work, some milliseconds) meanwhile.
*wrong*: tasks of which the contestant believes something untrue, or that it left paused.
*faults*: so many of the requests are executed and their answer is lost or replaced by a proxy's error page.
*client CPU* is that of the REST client alone; of a library its process."""


@dataclass
class Row:
    cell: object
    name: str
    result: object
    shortest: float
    counts: tuple
    wrong: int

    def cells(self):
        cell, result = self.cell, self.result
        requests, full, spent = self.counts
        return [
            f"{cell.tasks:,}" + (f", {cell.faults:.0%} faults" if cell.faults else ""),
            f"{cell.cost:g}",
            f"{cell.scale:g}",
            f"{self.name}" + (f" ({result.remark})" if result.remark else ""),
            f"{result.seconds:.1f}",
            f"{self.shortest:.1f}",
            f"{result.seconds / self.shortest:.2f}",
            "" if result.first is None else f"{result.first:.1f}",
            f"{requests:,}",
            f"{full}",
            f"{spent}",
            f"{self.wrong}",
            "" if result.cpu is None else f"{result.cpu:.1f}",
        ]


class Results:
    def __init__(self, machine):
        self.machine, self.rows, self.document = machine, [], None

    def add(self, cell, contestant, result, arena, wrong):
        portal = arena.measured_meanwhile() if contestant.is_serial else arena.measured
        shortest = theory.shortest(cell.tasks, portal, cell.scale, cell.cost)
        self.rows.append(Row(cell, contestant.name, result, shortest, arena.counts(), wrong))
        print("  ".join(self.rows[-1].cells()), portal, f"{arena.bytes_per_task:.0f} bytes", flush=True)
        if self.document:
            self.write()
        if result.worker is not None:
            print(f"    worker: {result.worker:.0f} ms of CPU per 50 commands", flush=True)

    def table(self):
        rows = sorted(self.rows, key=lambda row: (bool(row.cell.faults), row.cell.tasks, row.cell.cost))
        lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
        lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
        return "\n".join(lines)

    def write(self):
        """Write the document; after every contest, as a whole run takes long."""
        self.document.write_text(f"# Benchmarks\n\n{self.machine}\n\n{EXPLAINED}\n\n{self.table()}\n{self._worker()}")

    def _worker(self):
        spent = [row.result.worker for row in self.rows if row.result.worker is not None and row.cell.tasks >= 500]
        if not spent:
            return ""
        return (
            f"\nOur whole worker, database and broker included: {max(spent):.0f} ms of CPU per 50 commands at most.\n"
        )
