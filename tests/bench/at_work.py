"""Opens the page, watches a job and runs its slices in one process, and counts what that asks the database.

    python -c "from tests.bench import at_work; at_work.show(opening, ids)"

with the app's settings (tests.processes.App.python); `opening` is what a portal posts, {query, fields}, of somebody
who has opened the app before, and `ids` are their tasks in progress. It prints
{opening, watching, step_queries, step_ms} as JSON: queries, but for the milliseconds of the database per step, which
are those of the slowest but five in a hundred.
"""

import json
import re
import statistics

from django.test import Client

from b24app import dates, deferrals, slices
from b24app.models import Job, Person, Portal, SelectedTask, Selection
from tests.bench.queries import asked_by


def show(opening, ids):
    browser = Client(SERVER_NAME="localhost")
    pages = []
    query = {**opening["query"], "LANG": "en"}
    of_opening = asked_by(lambda: pages.append(browser.post("/placement/", opening["fields"], query_params=query)))
    assert pages[0].status_code == 200
    headers = {"X-Ticket": re.search(r'data-ticket="([^"]*)"', pages[0].text).group(1), "HX-Request": "true"}
    job = start_job(ids)
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


def start_job(ids):
    """A job of the one person there is, as the dialog starts it."""
    person = Person.objects.get()
    selection = Selection.objects.create(person=person, state=Selection.State.READY, created_at=dates.now())
    SelectedTask.objects.bulk_create(SelectedTask(selection=selection, task_id=id, status=3) for id in ids)
    return deferrals.start(person, selection, "", "bench")


def steps_of(job):
    """What the job's steps asked, from the first to the last."""
    steps, run_step = [], slices._run_step

    def watched(lease):
        went_on = []
        steps.append(asked_by(lambda: went_on.append(run_step(lease))))
        return went_on[0]

    Portal.objects.update(defers_directly=False)  # to find that out takes a question more, once
    slices._run_step = watched
    while Job.objects.get(pk=job.pk).state != Job.State.FINISHED:
        slices.run(job.portal_id)
    return steps
