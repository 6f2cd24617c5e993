"""Measures how long a ninth portal waits for twenty tasks while eight portals occupy all slots of a worker."""

from contextlib import contextmanager

from tests import machine
from tests.benchmarks.arena import DESCRIPTION, TITLE, Cell, set_limits
from tests.benchmarks.contestants import open_app, start_job
from tests.processes import wait_until
from tests.sandbox_client import Sandbox

BUSY, LARGE, SMALL = 8, 5_000, 20  # portals, and tasks of their jobs
COST, SCALE = 0.33, 5  # one process serves nine portals: at a larger scale its processor would be the limit
PATIENCE = 300  # seconds
PORTALS = [f"p{number}" for number in range(BUSY + 1)]


def seconds_of_the_small_job(rig):
    """Unscaled seconds from the request to the last outcome."""
    with crowded(rig) as (app, asked):
        for person, tasks in asked[:-1]:
            start_job(app, person, tasks)
        busy = "select count(distinct job_id) from defer_jobitem where state = 'done'"
        wait_until(lambda: app.value(busy) == BUSY, PATIENCE, "all slots to be taken")
        job = start_job(app, *asked[-1])
        ended = "select finished_at - created_at from defer_job where id = ?"
        took = wait_until(lambda: app.value(ended, [job]), PATIENCE, "the small job to end")
        assert app.value("select done from defer_job where id = ?", [job]) == SMALL
        return took.total_seconds() * SCALE


@contextmanager
def crowded(rig):
    """Install the app at nine portals, each with a person and tasks; the last one has few tasks."""
    directory = rig.directory / "crowd"
    directory.mkdir()
    sandbox = Sandbox.start(directory, PORTALS, app_origin=f"http://127.0.0.1:{rig.port}")
    app = rig.app_at(sandbox, directory, rig.databases[0], machine.REDIS_URL)
    app.settings["TIME_SCALE"] = str(SCALE)
    try:
        app.rows_changed("truncate defer_portal cascade")
        asked = [ask(app, sandbox, portal, LARGE if portal != PORTALS[-1] else SMALL) for portal in PORTALS]
        app.start("worker", "beat")
        yield app, asked
    finally:
        app.kill_all()
        sandbox.stop()


def ask(app, sandbox, portal, count):
    """A person who has opened the app, and their tasks."""
    person = sandbox.user(portal, name="Bob")
    sandbox.install(portal)
    full = {"creator": person, "status": 3, "title": TITLE, "description": DESCRIPTION}
    tasks = sandbox.tasks(portal, count=count, **full)
    set_limits(sandbox, portal, Cell(count, COST, SCALE), COST / SCALE)
    return open_app(app, sandbox.open(portal, person)), tasks
