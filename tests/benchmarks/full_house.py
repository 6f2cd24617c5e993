"""Fills a database with 10,000 portals with old finished jobs, then runs a sweep and starts a large job.

    python -c "from tests.benchmarks import full_house; full_house.show(items=10)"

with the app's settings (tests.processes.App.python), and `items` for every portal. It prints
{scans, indexes, sweep_ms, job_queries, job_ms} as JSON: `scans` are the tables that the sweep's queries read
completely; `indexes` are the indexes that they use.
"""

import json
import re
import statistics
import time

from django.db import connection

from b24app import clock
from b24app.engine import jobs, queue
from b24app.models import Job, JobItem, Person, Portal, SelectedTask, Selection
from b24app.portals import throttle, uninstall
from b24app.worker import housekeeping
from tests.benchmarks.queries import asked_by, explained

PORTALS, LARGE = 10_000, 5_000
SWEEPS = 5


def fill(items):
    now = clock.now()
    Portal.objects.bulk_create(
        Portal(member_id=f"m{n}", endpoint=f"https://p{n}.example/rest/") for n in range(PORTALS)
    )
    Person.objects.bulk_create(Person(portal=portal, user_id=1) for portal in Portal.objects.all())
    Job.objects.bulk_create(
        Job(
            portal_id=person.portal_id,
            person=person,
            key="k",
            state="finished",
            total=items,
            done=items,
            created_at=now,
        )
        for person in Person.objects.all()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "set statement_timeout = 0"
        )  # inserting a million rows takes longer than any statement of the app
        cursor.execute(
            "insert into defer_jobitem"
            " (job_id, task_id, title, state, step, direct, sends, refusal, code, vendor_code)"
            f" select id, n, '', 'done', 'none', false, 1, '', '', '' from defer_job, generate_series(1, {items}) n"
        )
        cursor.execute("vacuum analyze")


def sweep():
    """What `jobs.sweep` asks."""
    queue.portals_with_work()
    uninstall.unconfirmed()
    housekeeping.delete_expired()
    uninstall.delete_expired()
    throttle.delete_expired()


def measure_sweep():
    sweep()
    statements = asked_by(sweep).statements
    found = [[explained(statement) for statement in statements] for _ in range(SWEEPS)]
    plans = "\n".join(plan for _, plan in found[-1])
    return {
        "scans": re.findall(r"Seq Scan on (defer_(?:portal|job|jobitem|person))\b", plans),
        "indexes": sorted(set(re.findall(r"Index (?:Only )?Scan (?:using|on) (\w+)", plans))),
        "sweep_ms": statistics.median(sum(spent for spent, _ in each) for each in found),
    }


def measure_job():
    """Start the job twice, for two people: once to measure the time, once to count the queries."""
    hasty, watched = Person.objects.all()[:2]
    selection = select(hasty)
    started = time.monotonic()
    make_job(hasty, selection)
    took = time.monotonic() - started
    selection = select(watched)
    asked = asked_by(lambda: make_job(watched, selection))
    assert JobItem.objects.filter(job__key="large").count() == 2 * LARGE
    return {"job_queries": len(asked), "job_ms": took * 1000}


def select(person):
    selection = Selection.objects.create(person=person, state="ready", created_at=clock.now())
    SelectedTask.objects.bulk_create(SelectedTask(selection=selection, task_id=n, status=3) for n in range(LARGE))
    return selection


def make_job(person, selection):
    jobs.start(person, selection, "", "large")


def show(items):
    fill(items)
    print(json.dumps(measure_sweep() | measure_job()))
