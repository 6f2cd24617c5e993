"""Start a job, watch it, stop, retry or undo it, and close its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from b24app import clock
from b24app.engine import jobs
from b24app.models import Job, JobItem, Person
from b24app.web.oauth import start_url
from b24app.web.texts import reason_and_remedy, task_links, too_many_jobs, what_it_waits_for
from b24app.web.tickets import ticketed
from b24app.worker import messages

SHOWN_PER_REASON = 100  # tasks listed under one reason; more are only counted
# Milliseconds until the page asks again, by the age of the job in seconds.
DELAYS = ((2, 500), (30, 1000), (120, 2000))
LONGEST_DELAY = 5000
WAITING_DELAY = 3000
# The worst first: a person must act on a task that was left paused.
WORST_FIRST = [
    JobItem.Code.LEFT_PAUSED,
    JobItem.Code.NOT_PERMITTED,
    JobItem.Code.CHANGING,
    JobItem.Code.REFUSED,
    JobItem.Code.NOT_STARTED,
]

# The items of a finished job that a retry takes, by the word in the address.
RETRIED = {"failed": [JobItem.State.FAILED], "cancelled": [JobItem.State.CANCELLED]}


class JobForm(forms.Form):
    selection = forms.UUIDField()
    reason = forms.CharField(max_length=500, required=False)
    key = forms.RegexField(r"^[0-9A-Za-z-]{16,64}$")


@dataclass(frozen=True)
class Group:
    """Tasks with the same outcome for the same reason."""

    title: str
    remedy: str
    state: str
    count: int
    items: list[JobItem]

    @property
    def unnamed(self) -> int:
        """How many tasks the screen only counts, beyond those it lists."""
        return self.count - len(self.items)

    @property
    def is_failure(self) -> bool:
        return self.state == JobItem.State.FAILED


@require_POST
@ticketed
def create(request: HttpRequest, person: Person) -> HttpResponse:
    """Start the job of a confirmed selection. Sent twice, it is one job."""
    form = JobForm(request.POST)
    if not form.is_valid():
        raise SuspiciousOperation("not a job")
    selection = get_object_or_404(person.selections, pk=form.cleaned_data["selection"])
    try:
        job = jobs.start(person, selection, form.cleaned_data["reason"], form.cleaned_data["key"])
    except jobs.NotReady:
        return _in_dialog(render(request, "dialog/_expired.html"))
    except jobs.TooManyJobs:
        return _in_dialog(render(request, "dialog/_trouble.html", {"trouble": too_many_jobs()}))
    except jobs.KeyReused:
        raise SuspiciousOperation("this key stood for another job") from None
    return _started(request, person, job, "job-started")


def _in_dialog(response: HttpResponse) -> HttpResponse:
    """Make the answer replace the dialog, which is still open, instead of the panel above the list."""
    response["HX-Retarget"] = "#dialog-body"
    response["HX-Reswap"] = "innerHTML"
    return response


def _started(request: HttpRequest, person: Person, job: Job, event: str) -> HttpResponse:
    """The panel of a new job. `event` tells the page what happened."""
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    response = render(request, "jobs/_panel.html", panel(person, job))
    response["HX-Trigger-After-Swap"] = event
    return response


@require_POST
@ticketed
def stop(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """Stop a job. The answer is its panel, with the result if nothing is left to settle."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    jobs.stop(job)
    # Even if the job has ended: while we held the lease, a worker may have come and left with its message.
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    job.refresh_from_db()
    response = render(request, "jobs/_panel.html", {**panel(person, job), "announce": True})
    response["HX-Trigger-After-Swap"] = "job-finished" if job.state == Job.State.FINISHED else "job-steered"
    return response


@require_POST
@ticketed
def retry(request: HttpRequest, person: Person, job_id: int, what: str) -> HttpResponse:
    """Start a new job over the cancelled or the failed tasks of a finished one. Pressed twice, it is one job."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    return _start_follow_up(request, person, job, lambda: jobs.retry(job, RETRIED[what], f"{what} of {job.pk}"))


def _start_follow_up(request: HttpRequest, person: Person, job: Job, start: Callable[[], Job]) -> HttpResponse:
    """Close a finished job, and show the panel of the job that `start` makes of it, or why it cannot be made."""
    try:
        following = start()
    except jobs.NotReady:
        return render(
            request,
            "jobs/_panel.html",
            {**panel(person, job), "refusal": gettext("This job has no tasks left to process.")},
        )
    except jobs.TooManyJobs:
        return render(request, "jobs/_panel.html", {**panel(person, job), "refusal": too_many_jobs().sentence})
    jobs.dismiss(job)
    return _started(request, person, following, "job-steered")


@require_POST
@ticketed
def undo(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """Start a new job that returns what a finished one has deferred. Pressed twice, it is one job."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    return _start_follow_up(request, person, job, lambda: jobs.undo(job, f"undo of {job.pk}"))


@require_GET
@ticketed
def watch(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """The progress of a job. When it has finished, its whole panel with the result."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    context = panel(person, job, _milestone(request.GET.get("announced", "")))
    if job.state != Job.State.FINISHED:
        return render(request, "jobs/_progress.html", context)
    response = render(request, "jobs/_panel.html", {**context, "announce": True})
    response["HX-Retarget"] = "#job"
    response["HX-Trigger-After-Swap"] = "job-finished"
    return response


@require_POST
@ticketed
def dismiss(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """Close a result. The answer is the panel of the next job to show, mostly none."""
    jobs.dismiss(get_object_or_404(person.jobs.select_related("portal"), pk=job_id))
    response = render(request, "jobs/_panel.html", panel(person, jobs.latest_job(person)))
    response["HX-Trigger-After-Swap"] = "job-closed"
    return response


@require_GET
@ticketed
def latest(request: HttpRequest, person: Person) -> HttpResponse:
    """The panel for a page that becomes visible again: another tab may have started or closed a job."""
    job = jobs.latest_job(person)
    if request.GET.get("shown") == _panel_version(job):
        return HttpResponse(status=204)
    response = render(request, "jobs/_panel.html", panel(person, job))
    if job and job.state == Job.State.FINISHED:
        response["HX-Trigger-After-Swap"] = "job-finished"  # the list has changed too
    return response


def _panel_version(job: Job | None) -> str:
    """A short version tag of the panel: a page whose panel has another one replaces it."""
    return f"{job.pk}-{job.state == Job.State.FINISHED}" if job else ""


def panel(person: Person, job: Job | None, announced: int = 0) -> dict[str, Any]:
    """What the panel above the list shows. `announced` is the last milestone (25, 50, 75) that was read aloud."""
    shown = {"job": job, "shown": _panel_version(job)}
    if job is None:
        return shown
    if job.state == Job.State.FINISHED:
        return {**task_links(person), **shown, "groups": _groups(job), "can_undo": jobs.can_undo(job)}
    milestone = job.settled * 4 // job.total * 25
    reconnect_url = start_url(person.portal) if job.wait_reason == Job.WaitReason.PERSON else ""
    waits = what_it_waits_for(job)
    return {
        **shown,
        "waits": waits,
        "paused": jobs.paused(job) if waits else 0,
        "reconnect_url": reconnect_url,
        "delay": _delay(job),
        "milestone": milestone,
        "announce": milestone > announced,
    }


def _milestone(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _delay(job: Job) -> int:
    if job.state == Job.State.WAITING:
        return WAITING_DELAY
    age = (clock.now() - job.created_at).total_seconds()
    return next((delay for seconds, delay in DELAYS if age < seconds), LONGEST_DELAY)


def _groups(job: Job) -> list[Group]:
    """The tasks whose outcome is not what the person asked for, grouped by outcome and reason, the worst first."""
    half_done = Q(state=JobItem.State.DONE) & ~Q(code="")
    missed = job.items.filter(half_done | Q(state__in=[JobItem.State.FAILED, JobItem.State.SKIPPED]))
    counts = missed.values_list("state", "code").annotate(number=Count("id")).order_by("state", "code")
    worst = {code.value: place for place, code in enumerate(WORST_FIRST)}
    return [
        Group(
            *reason_and_remedy(job, code), state, number, list(missed.filter(state=state, code=code)[:SHOWN_PER_REASON])
        )
        for state, code, number in sorted(counts, key=lambda count: worst.get(count[1], len(worst)))
    ]
