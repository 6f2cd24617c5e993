"""Fills a database with 10,000 portals whose jobs were done long ago, then sweeps it and makes a large job.

Run with the app's settings (tests.processes.App.python); prints {scans, sweep_ms, job_queries, job_ms} as JSON, where
`scans` are the tables that the sweep's queries read from end to end.
"""

import json
import re
import time

from django.db import connection
from django.test.utils import CaptureQueriesContext

from b24app import dates, deferrals, removals, slices
from b24app.models import Job, JobItem, Person, Portal, SelectedTask, Selection

PORTALS, ITEMS, LARGE = 10_000, 10, 5_000
COUNTED = ("SELECT", "INSERT", "UPDATE", "DELETE")


def fill():
    now = dates.now()
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
            total=ITEMS,
            done=ITEMS,
            created_at=now,
        )
        for person in Person.objects.all()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into defer_jobitem"
            " (job_id, task_id, title, state, step, directly, sends, refusal, code, vendor_code)"
            f" select id, n, '', 'done', 'none', false, 1, '', '', '' from defer_job, generate_series(1, {ITEMS}) n"
        )
        cursor.execute("analyze")


def sweep():
    """What `jobs.sweep` asks."""
    slices.portals_with_work()
    removals.unconfirmed()
    slices.forget_expired()
    removals.forget_expired()


def captured(act):
    with CaptureQueriesContext(connection) as queries:
        act()
    return [query["sql"] for query in queries if query["sql"].startswith(COUNTED)]


def milliseconds_of(query):
    """Milliseconds that the database executes a query, and its plan."""
    with connection.cursor() as cursor:
        cursor.execute(f"explain analyze {query}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    return float(re.search(r"Execution Time: ([\d.]+)", plan).group(1)), plan


def make_job():
    person = Person.objects.first()
    selection = Selection.objects.create(person=person, state="ready", created_at=dates.now())
    SelectedTask.objects.bulk_create(SelectedTask(selection=selection, task_id=n, status=3) for n in range(LARGE))

    def act():
        deferrals.start(person, selection, "", "large")

    started = time.monotonic()
    queries = captured(act)
    assert JobItem.objects.filter(job__key="large").count() == LARGE
    return {"job_queries": len(queries), "job_ms": (time.monotonic() - started) * 1000}


def measure_sweep():
    sweep()
    found = [milliseconds_of(query) for query in captured(sweep)]
    scans = re.findall(r"Seq Scan on (defer_(?:portal|job|jobitem|person))\b", "\n".join(plan for _, plan in found))
    return {"scans": scans, "sweep_ms": sum(spent for spent, _ in found)}


fill()
print(json.dumps(measure_sweep() | make_job()))
