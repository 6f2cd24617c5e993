"""Starting a job, watching it, undoing it, and closing its result."""

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
# How long the page waits between two looks, in milliseconds, by the age of the job in seconds.
DELAYS = ((2, 500), (30, 1000), (120, 2000))
LONGEST_DELAY = 5000
WAITING_DELAY = 3000
# The worst first: a task left paused needs a person at once.
WORST_FIRST = [
    JobItem.Code.LEFT_PAUSED,
    JobItem.Code.NOT_PERMITTED,
    JobItem.Code.CHANGING,
    JobItem.Code.REFUSED,
    JobItem.Code.NOT_STARTED,
]

# What a finished job may have left, by the word in the address.
AGAIN = {"failed": [JobItem.State.FAILED], "cancelled": [JobItem.State.CANCELLED]}


class JobForm(forms.Form):
    selection = forms.UUIDField()
    reason = forms.CharField(max_length=500, required=False)
    key = forms.RegexField(r"^[0-9A-Za-z-]{16,64}$")


@dataclass(frozen=True)
class Group:
    """Tasks that met the same fate."""

    title: str
    remedy: str
    state: str
    count: int
    items: list[JobItem]

    @property
    def unnamed(self) -> int:
        """How many more there are than the screen lists."""
        return self.count - len(self.items)

    @property
    def is_failure(self) -> bool:
        return self.state == JobItem.State.FAILED


@require_POST
@ticketed
def create(request: HttpRequest, person: Person) -> HttpResponse:
    """Start the job of a confirmed selection; sent twice, it is one job."""
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
    """An answer for the dialog that is still open, instead of the panel above the list."""
    response["HX-Retarget"] = "#dialog-body"
    response["HX-Reswap"] = "innerHTML"
    return response


def _started(request: HttpRequest, person: Person, job: Job, told: str) -> HttpResponse:
    """The panel of a job that is new; `told` is the event for the page."""
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    response = render(request, "jobs/_panel.html", panel(person, job))
    response["HX-Trigger-After-Swap"] = told
    return response


@require_POST
@ticketed
def stop(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """Stop a job; the answer is its panel, with the result when nothing is left to be settled."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    jobs.stop(job)
    # Also where nothing of this job is left: a worker that came by meanwhile found the portal leased and went away.
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    job.refresh_from_db()
    response = render(request, "jobs/_panel.html", {**panel(person, job), "announce": True})
    response["HX-Trigger-After-Swap"] = "job-finished" if job.state == Job.State.FINISHED else "job-steered"
    return response


@require_POST
@ticketed
def again(request: HttpRequest, person: Person, job_id: int, what: str) -> HttpResponse:
    """Go on with what a finished job left, "cancelled" or "failed", as a new job; pressed twice, it is one."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    return _follow(request, person, job, lambda: jobs.retry(job, AGAIN[what], f"{what} of {job.pk}"))


def _follow(request: HttpRequest, person: Person, job: Job, start: Callable[[], Job]) -> HttpResponse:
    """The panel of the job that `start` makes of a finished one, which is closed by that; or why there is none."""
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
    """Return what a finished job has deferred, as a new job; pressed twice, it is one."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    return _follow(request, person, job, lambda: jobs.undo(job, f"undo of {job.pk}"))


@require_GET
@ticketed
def watch(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """How far a job has come; once it has finished, its whole panel with the result."""
    job = get_object_or_404(person.jobs.select_related("portal"), pk=job_id)
    said = request.GET.get("said", "")
    context = panel(person, job, int(said) if said.isascii() and said.isdigit() else 0)
    if job.state != Job.State.FINISHED:
        return render(request, "jobs/_progress.html", context)
    response = render(request, "jobs/_panel.html", {**context, "announce": True})
    response["HX-Retarget"] = "#job"
    response["HX-Trigger-After-Swap"] = "job-finished"
    return response


@require_POST
@ticketed
def dismiss(request: HttpRequest, person: Person, job_id: int) -> HttpResponse:
    """Close a result; the answer is the next panel that waits to be seen, mostly none."""
    jobs.dismiss(get_object_or_404(person.jobs.select_related("portal"), pk=job_id))
    response = render(request, "jobs/_panel.html", panel(person, jobs.latest_job(person)))
    response["HX-Trigger-After-Swap"] = "job-closed"
    return response


@require_GET
@ticketed
def latest(request: HttpRequest, person: Person) -> HttpResponse:
    """The panel for a page that somebody comes back to: another tab may have started or closed a job meanwhile."""
    job = jobs.latest_job(person)
    if request.GET.get("shown") == _sign(job):
        return HttpResponse(status=204)
    response = render(request, "jobs/_panel.html", panel(person, job))
    if job and job.state == Job.State.FINISHED:
        response["HX-Trigger-After-Swap"] = "job-finished"  # the list has changed too
    return response


def _sign(job: Job | None) -> str:
    """What a page shows of a job, as far as another panel would take its place."""
    return f"{job.pk}-{job.state == Job.State.FINISHED}" if job else ""


def panel(person: Person, job: Job | None, said: int = 0) -> dict[str, Any]:
    """What the panel above the list shows; `said` is the milestone (25, 50, 75) that was read aloud last."""
    shown = {"job": job, "shown": _sign(job)}
    if job is None:
        return shown
    if job.state == Job.State.FINISHED:
        return {**task_links(person), **shown, "groups": _groups(job), "may_undo": jobs.can_undo(job)}
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
        "announce": milestone > said,
    }


def _delay(job: Job) -> int:
    if job.state == Job.State.WAITING:
        return WAITING_DELAY
    age = (clock.now() - job.created_at).total_seconds()
    return next((delay for seconds, delay in DELAYS if age < seconds), LONGEST_DELAY)


def _groups(job: Job) -> list[Group]:
    """What did not go as it was asked for, by what became of it: the worst on top."""
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
