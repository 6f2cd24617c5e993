"""Runs the contests, measures the other budgets, and writes docs/benchmarks.md: `python -m tests.benchmarks`.

Measurements are kept in var/bench/ until the run ends, so an interrupted run can be resumed. Another version of the
code starts from the beginning. The run ends with an error that names every missed goal.
"""

import tests.environment  # noqa: F401, I001  first: no settings of this machine

import argparse
import datetime
import hashlib
import os
import platform
import re
import signal
import sys
import tempfile
from pathlib import Path

from tests import machine
from tests.benchmarks import budgets
from tests.benchmarks.contest import QUICK, Rig, cell_of
from tests.benchmarks.report import Results

DOCUMENT = machine.ROOT / "docs" / "benchmarks.md"
KEPT = machine.ROOT / "var" / "bench"


def main():
    words = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    words.add_argument("--quick", action="store_true", help="a few cells, scaled; writes no document")
    words.add_argument("--only", action="append", metavar="N,t[,faults]", help="this cell; writes no document")
    words.add_argument(
        "--budgets", nargs="*", choices=budgets.STORIES, help="only these contestants; writes no document"
    )
    words.add_argument("--alone", action="store_true", help="with --quick or --only: without the others")
    arguments = words.parse_args()
    for need in machine.NEEDS:
        if need.marker in ("postgres", "redis") and not need.is_met():
            sys.exit(need.advice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that every started process is ended
    with tempfile.TemporaryDirectory(prefix="defer-bench-") as directory, Rig(Path(directory)) as rig:
        if arguments.only or arguments.quick or arguments.budgets is not None:
            results = Results(machine_line(), Path(directory) / "results")
            look_at(arguments, rig, results)
        else:
            results = Results(machine_line(), KEPT / version())
            rig.run_all(results)
            budgets.measure_all(rig, results, budgets.STORIES)
            DOCUMENT.write_text(results.document())
            results.forget()
        print(f"{results.table()}\n\n{results.figures_table()}")
    if missed := results.missed():
        sys.exit("Not reached:\n" + "\n".join(missed))


def look_at(arguments, rig, results):
    """Run a few cells only."""
    cells = [cell_of(words) for words in arguments.only or []] or (QUICK if arguments.quick else [])
    if cells:
        rig.measure_client()
    rig.ours_contest(cells, results)
    for other in [] if arguments.alone else [*rig.libraries, rig.naive]:
        rig.contest(cells, results, other, rig.new_arena(f"aside-{len(rig.arenas)}"))
    if arguments.budgets is not None:
        budgets.measure_all(rig, results, arguments.budgets or budgets.STORIES)


def machine_line():
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    known = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", known.read_text()) if known.exists() else None
    processor = model.group(1) if model else platform.machine()
    return f"{today}, {os.cpu_count()} × {processor}, Python {platform.python_version()}, PostgreSQL and Redis"


def version():
    """A digest of the app's and the benchmark's code."""
    digest = hashlib.sha256()
    for folder in ("b24app", "tests/benchmarks"):
        for path in sorted((machine.ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
