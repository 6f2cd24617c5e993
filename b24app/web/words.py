"""What the screens say: numbers, deadlines and reasons in plain words. Also the templates' filters."""

from dataclasses import dataclass
from datetime import datetime

from django import template
from django.utils import formats, timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext, gettext_lazy, pgettext

from b24app import dates, deferrals
from b24app.bitrix import tasks
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    OperatingLimit,
    Refused,
    TooManyRequests,
)
from b24app.models import Job, JobItem, Person

register = template.Library()

Code = JobItem.Code

# Why a task was skipped or failed, by what became of it. Each is a heading over the tasks that it happened to.
REASONS = {
    Code.ALREADY_DEFERRED: gettext_lazy("Already deferred"),
    Code.COMPLETED: gettext_lazy("Completed"),
    Code.AWAITING_CONTROL: gettext_lazy("Waiting for the creator's approval"),
    Code.DECLINED: gettext_lazy("Declined"),
    Code.GONE: gettext_lazy("Deleted, or not visible to you"),
    Code.NOT_PERMITTED: gettext_lazy("You may not defer these tasks"),
    Code.CHANGING: gettext_lazy("Somebody else kept changing them"),
    Code.REFUSED: gettext_lazy("Bitrix24 refused"),
    Code.LEFT_PAUSED: gettext_lazy("Paused, but neither deferred nor started again"),
    Code.STOPPED: gettext_lazy("Not started, because you stopped the job"),
}
# What to do about it, where that is not plain.
REMEDIES = {
    Code.NOT_PERMITTED: gettext_lazy("They are as they were. Ask their creator or an administrator."),
    Code.CHANGING: gettext_lazy("They are as others left them. Try again later."),
    Code.REFUSED: gettext_lazy("They are as they were. Try again later."),
    Code.LEFT_PAUSED: gettext_lazy("Please open each one and start it again."),
}
# What a job waits for.
WAITS = {
    Job.Why.PERSON: gettext_lazy("Bitrix24 wants to see you again: close this app and open it anew."),
    Job.Why.PORTAL: gettext_lazy("Bitrix24 does not answer at the moment; going on as soon as it does."),
    Job.Why.LIMIT: gettext_lazy("Bitrix24 asks us to slow down; going on by itself."),
    Job.Why.ACCESS: gettext_lazy("Bitrix24 does not let the app in at the moment. Ask your administrator."),
    Job.Why.ERROR: gettext_lazy("Something went wrong on our side; trying again by itself."),
}


@register.filter
def grouped(number: int) -> str:
    """1240 as "1,240", in the reader's language."""
    return formats.number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def reason(code: str) -> str:
    return str(REASONS[Code(code)])


@register.filter
def remedy(code: str) -> str:
    return str(REMEDIES.get(Code(code), ""))


@register.filter
def is_overdue(deadline: datetime | None) -> bool:
    return deadline is not None and deadline < dates.now()


@register.filter
def deadline(moment: datetime | None) -> str:
    """A deadline as a chip shows it: "− 7 months", "Nov 30, 6 p.m.", or "No deadline"."""
    if moment is None:
        return gettext("No deadline")
    if is_overdue(moment):
        # Translators: a deadline that passed so long ago, as Bitrix24 shows it. The sign is a minus.
        return gettext("− %(time)s") % {"time": timesince(moment, dates.now(), depth=1)}
    return moment_words(moment)


@register.filter
def moment_words(moment: datetime) -> str:
    """A moment in the reader's zone; the year only where it is another one."""
    local, today = timezone.localtime(moment), timezone.localtime(dates.now())
    if local.year == today.year:
        return formats.date_format(local, pgettext("date format", "M j, H:i"))
    return formats.date_format(local, pgettext("date format", "M j, Y, H:i"))


@register.filter
def status_word(status: int) -> str:
    return gettext("In progress") if status == tasks.IN_PROGRESS else gettext("Pending")


@register.filter
def what_it_waits_for(job: Job) -> str:
    """Why an unfinished job does not move at the moment; "" when it does."""
    if job.state == Job.State.WAITING and job.waiting_why:
        return str(WAITS[Job.Why(job.waiting_why)])
    if deferrals.is_stalled(job):
        return gettext("No worker is running. The tasks are safe; going on as soon as one starts.")
    return ""


@register.filter
def outcome(job: Job) -> str:
    """ "120 deferred · 3 failed · 1 skipped · 7 not started", as far as there is something to say."""
    parts = [gettext("%(n)s deferred") % {"n": grouped(job.done)}]
    if job.failed:
        parts.append(gettext("%(n)s failed") % {"n": grouped(job.failed)})
    if job.skipped:
        parts.append(gettext("%(n)s skipped") % {"n": grouped(job.skipped)})
    if job.cancelled:
        parts.append(gettext("%(n)s not started") % {"n": grouped(job.cancelled)})
    return " · ".join(parts)


def task_links(person: Person) -> dict[str, str]:
    """Where a task's card is, for the templates: the portal, and the path that an id ends."""
    path = f"/company/personal/user/{person.user_id}/tasks/task/view/"
    return {"portal_url": person.portal.origin, "task_path": path}


@dataclass(frozen=True)
class Trouble:
    """What to tell a person about a call that failed, and the one thing to do about it."""

    title: str
    sentence: str
    action: str = ""  # "reopen" the app, try "again", or nothing
    code: str = ""  # the portal's word for it, for support
    retry: int | None = None  # seconds after which the page tries again by itself


def too_many_jobs() -> Trouble:
    sentence = gettext("Four of your jobs are not finished yet. Stop one, or wait until one has finished.")
    return Trouble(gettext("Too many jobs at once"), sentence, "again")


def trouble(error: BitrixError) -> Trouble:
    if isinstance(error, CredentialRefused):
        return Trouble(gettext("Your session ended"), gettext("Bitrix24 wants to see you again."), "reopen")
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        sentence = gettext("It asks us to slow down; trying again by itself.")
        return Trouble(gettext("Bitrix24 is busy"), sentence, retry=max(2, min(60, round(error.delay))))
    if isinstance(error, AccessLost):
        sentence = gettext(
            "Its plan, its payment or the app's rights may be the reason. Please ask your administrator."
        )
        return Trouble(gettext("Bitrix24 does not let the app in"), sentence, code=error.code)
    if isinstance(error, Refused):
        sentence = gettext("You may not see this list, or it is no longer there.")
        return Trouble(gettext("No access"), sentence, code=error.code)
    sentence = gettext("It may be offline or busy. Nothing is lost.")
    return Trouble(gettext("Bitrix24 does not answer"), sentence, "again", error.code)
