"""The table of a run, for the screen and for docs/benchmarks.md."""

from dataclasses import dataclass

from tests.bench import theory

HEAD = (
    "| tasks | t, s | × time | who | time, s | T_opt, s | time / T_opt | first, s | requests | 503 | 429 | wrong "
    "| client CPU, ms / 50 |"
)


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
        self.machine, self.rows = machine, []

    def add(self, cell, name, result, arena, wrong):
        shortest = theory.shortest(cell.tasks, arena.measured, cell.scale, cell.cost)
        self.rows.append(Row(cell, name, result, shortest, arena.counts(), wrong))
        print("  ".join(self.rows[-1].cells()), arena.measured, f"{arena.bytes_per_task:.0f} bytes", flush=True)
        if result.worker is not None:
            print(f"    worker: {result.worker:.0f} ms of CPU per 50 commands", flush=True)

    def table(self):
        rows = sorted(self.rows, key=lambda row: (bool(row.cell.faults), row.cell.tasks, row.cell.cost))
        lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
        lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
        return "\n".join(lines)

    def document(self):
        return f"# Benchmarks\n\n{self.machine}\n\n{self.table()}\n"
