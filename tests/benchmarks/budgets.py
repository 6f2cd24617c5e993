"""The budgets outside the contests: page, step of a slice, sweep, memory of the worker, fairness."""

import json
import re
import statistics
import time

import requests

from tests.benchmarks import crowd
from tests.benchmarks.arena import PORTAL, Cell
from tests.benchmarks.contestants import open_app
from tests.benchmarks.report import HUGE, Figure

OPENINGS = 30
TASKS = 1000  # tasks of the job whose steps are measured
FILLING = 600  # timeout in seconds to fill a database
STORIES = ["memory", "page", "full-house", "crowd"]


def measure_all(rig, results, stories):
    """Measure the figures that are not recorded yet."""
    measures = {"memory": memory, "page": page_and_steps, "full-house": full_house, "crowd": fairness}
    for story in stories:
        if not results.has_figures_of(story):
            results.add_figures(story, list(measures[story](rig, results)))


def memory(rig, results):
    """The change of the worker's memory in the contests with the most tasks."""
    moved = [row.memory for row in results.rows if row.tasks == HUGE and row.memory is not None and not row.faults]
    if moved:
        yield Figure("A worker's resident memory over a job of 5,000 tasks, most that it moved", 10, "MB", max(moved))


def page_and_steps(rig, results):
    rig.arena.prepare(Cell(TASKS, 0.0))
    rig.app.rows_changed("truncate defer_portal cascade")
    open_app(rig.app, rig.arena.opening)
    yield Figure("Opening the page, beyond the portal's own time, half of the times", 30, "ms", opening_time(rig))
    show = f"at_work.show({opening(rig)!r}, {rig.arena.ids!r})"
    asked = json.loads(
        rig.app.python(f"from tests.benchmarks import at_work; {show}", timeout=FILLING).splitlines()[-1]
    )
    yield Figure("Opening the page", 6, "queries", asked["opening"])
    yield Figure("Watching a job", 2, "queries", asked["watching"])
    yield Figure("A step of a slice, at most", 12, "queries", asked["step_queries"])
    yield Figure("A step of a slice, PostgreSQL's time, 95 of 100", 15, "ms", asked["step_ms"])


def opening(rig):
    """What the portal posts when Bob opens the app above his list."""
    opened = rig.arena.sandbox.open(PORTAL, rig.arena.bob, "TASK_USER_LIST_TOOLBAR", {"USER_ID": str(rig.arena.bob)})
    return {name: opened[name] for name in ("query", "fields")}


def opening_time(rig):
    """Milliseconds of the web process, median."""
    rig.app.start("web")
    took = []
    with requests.Session() as browser:
        for _ in range(OPENINGS):
            posted = opening(rig)
            started = time.monotonic()
            page = browser.post(f"{rig.app.url}/placement/", posted["fields"], params=posted["query"], timeout=30)
            seconds = time.monotonic() - started
            assert re.search('data-ticket="[^"]', page.text), "the portal's bucket of requests was full"
            took.append(seconds * 1000 - rig.arena.sandbox.requests(PORTAL)[-1]["milliseconds"])
    rig.app.stop("web")
    return statistics.median(took)


def full_house(rig, results):
    rig.app.rows_changed("truncate defer_portal cascade")
    code = "from tests.benchmarks import full_house; full_house.show(items=100)"
    found = json.loads(rig.app.python(code, timeout=FILLING).splitlines()[-1])
    rig.app.rows_changed("truncate defer_portal cascade")
    finished = "1,000,000 finished items and 10,000 portals"
    yield Figure(f"The sweep with nothing to do, {finished}", 2, "ms", found["sweep_ms"])
    yield Figure("… tables that it reads from end to end", 0, "", len(found["scans"]))
    yield Figure("Making a job of 5,000 tasks", 8, "queries", found["job_queries"])
    yield Figure("Making a job of 5,000 tasks", 300, "ms", found["job_ms"])


def fairness(rig, results):
    took = crowd.seconds_of_the_small_job(rig)
    yield Figure("20 tasks of a new portal, beside jobs of 5,000 at eight others, t = 0.33", 90, "s", took)
