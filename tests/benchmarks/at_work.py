"""Opens the page, watches a job and runs its slices in one process; counts the database queries.

    python -c "from tests.benchmarks import at_work; at_work.show(opening, ids)"

with the app's settings (tests.processes.App.python); `opening` is what a portal posts, {query, fields}, for a person
who has opened the app before, and `ids` are their tasks in progress. It prints
{opening, watching, step_queries, step_ms} as JSON. The first three are numbers of queries, step_queries
the most in one step; step_ms is the 95th percentile of the database's milliseconds per step.
"""

import json
import re
import statistics

from django.test import Client

from b24app import clock
from b24app.engine import jobs, slices
from b24app.models import Job, Person, Portal, SelectedTask, Selection
from tests.benchmarks.arena import TITLE
from tests.benchmarks.queries import asked_by


def show(opening, ids):
    browser = Client(SERVER_NAME="localhost")
    pages = []
    query = {**opening["query"], "LANG": "en"}
    of_opening = asked_by(lambda: pages.append(browser.post("/placement/", opening["fields"], query_params=query)))
    assert pages[0].status_code == 200
    headers = {"X-Ticket": re.search(r'data-ticket="([^"]*)"', pages[0].text).group(1), "HX-Request": "true"}
    job = start_job(Person.objects.get(), ids)
    of_watching = asked_by(lambda: browser.get(f"/jobs/{job.pk}/", headers=headers))
    of_steps = steps_of(job)
    print(
        json.dumps(
            {
                "opening": len(of_opening),
                "watching": len(of_watching),
                "step_queries": max(map(len, of_steps)),
                "step_ms": statistics.quantiles([step.milliseconds for step in of_steps], n=20)[-1],
            }
        )
    )


def start_job(person, ids):
    """Start a job as the dialog does, from a ready selection."""
    selection = Selection.objects.create(person=person, state=Selection.State.READY, created_at=clock.now())
    selected = [SelectedTask(selection=selection, task_id=id, status=3, title=TITLE) for id in ids]
    SelectedTask.objects.bulk_create(selected)
    return jobs.start(person, selection, "", f"bench-{selection.pk}")


def steps_of(job):
    """The queries of each step of the job, without steps that found no work."""
    steps, run_step = [], slices._do_next

    def watched(lease):
        went_on = []
        asked = asked_by(lambda: went_on.append(run_step(lease)))
        if went_on[0]:
            steps.append(asked)
        return went_on[0]

    Portal.objects.update(defers_directly=False)  # known already, so no step needs the query that finds it out
    slices._do_next = watched
    while Job.objects.get(pk=job.pk).state != Job.State.FINISHED:
        slices.run(job.portal_id)
    return steps
