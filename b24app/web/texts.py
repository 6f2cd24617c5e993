"""The texts that views show: reasons, waits and troubles."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext, gettext_lazy, ngettext

from b24app import clock
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    OperatingLimit,
    Refused,
    TooManyRequests,
    error_for,
)
from b24app.engine import jobs, selections
from b24app.models import Credential, Job, JobItem, Person
from b24app.portals import access

Code = JobItem.Code

# Why a task was skipped or failed. Each text is the heading of a group of tasks.
REASONS = {
    Code.ALREADY_DEFERRED: gettext_lazy("Already deferred"),
    Code.COMPLETED: gettext_lazy("Completed"),
    Code.AWAITING_CONTROL: gettext_lazy("Waiting for the creator's approval"),
    Code.DECLINED: gettext_lazy("Declined"),
    Code.GONE: gettext_lazy("Deleted, or not visible to you"),
    Code.NOT_PERMITTED: gettext_lazy("You do not have permission to defer these tasks"),
    Code.CHANGING: gettext_lazy("Changed by someone else at the same time"),
    Code.REFUSED: gettext_lazy("Rejected by Bitrix24"),
    Code.LEFT_PAUSED: gettext_lazy("Left paused: the task could not be deferred or restarted"),
    Code.STOPPED: gettext_lazy("Not started because you stopped the job"),
    Code.AWAKE: gettext_lazy("Already resumed by someone else"),
    Code.DEFERRED_ANEW: gettext_lazy("Deferred again by someone else"),
    Code.NOT_STARTED: gettext_lazy("Returned, but could not be started"),
}
# What the person can do about it, unless that is obvious.
REMEDIES = {
    Code.NOT_PERMITTED: gettext_lazy("These tasks have not changed. Ask their creator or an administrator."),
    Code.CHANGING: gettext_lazy("These tasks are as the other person left them. Try again later."),
    Code.REFUSED: gettext_lazy("These tasks have not changed. Try again later."),
    Code.LEFT_PAUSED: gettext_lazy("Open each task and start it again."),
}
# For jobs that return tasks, if the text differs.
REASONS_OF_RETURNS = {Code.NOT_PERMITTED: gettext_lazy("You do not have permission to return these tasks")}
REMEDIES_OF_RETURNS = {
    Code.NOT_PERMITTED: gettext_lazy("These tasks are still deferred. Ask their creator or an administrator."),
    Code.REFUSED: gettext_lazy("These tasks are still deferred. Try again later."),
    Code.NOT_STARTED: gettext_lazy("These tasks are now pending. Start them in Bitrix24."),
}
# Why a job waits.
WAITS = {
    Job.WaitReason.PERSON: gettext_lazy("Your Bitrix24 session has expired. Close the app and open it again."),
    Job.WaitReason.PORTAL: gettext_lazy("Bitrix24 is not responding. The job will continue automatically."),
    Job.WaitReason.LIMIT: gettext_lazy("Bitrix24's rate limit has been reached. The job will continue automatically."),
    Job.WaitReason.ERROR: gettext_lazy("Something went wrong on our side. The job will try again automatically."),
    Job.WaitReason.DISMISSED: gettext_lazy("Bitrix24 reports that you no longer work here. We check once an hour."),
    Job.WaitReason.RESTRICTED: gettext_lazy("You do not have access to the app at the moment. We check once an hour."),
    Job.WaitReason.PLAN: gettext_lazy(
        "Your Bitrix24 plan does not include apps. We check once a day; the job continues when access is restored."
    ),
    Job.WaitReason.PAYMENT: gettext_lazy(
        "The app is not paid for. We check once a day; the job continues when access is restored."
    ),
    Job.WaitReason.SCOPE: gettext_lazy(
        "The app is missing a permission. Ask an administrator to grant it; the job then continues."
    ),
    Job.WaitReason.CONFIRM: gettext_lazy("An administrator has to confirm the app in Bitrix24. We check once an hour."),
    Job.WaitReason.OVERLOAD: gettext_lazy("Bitrix24 has temporarily blocked the app. We check once an hour."),
    Job.WaitReason.DELETED: gettext_lazy("This Bitrix24 account has been deleted. We check once a day."),
    Job.WaitReason.ACCESS: gettext_lazy("Bitrix24 is blocking the app at the moment. Ask your administrator."),
}
# Why a job waits, if the time of the next attempt is known.
WAITS_UNTIL = {
    Job.WaitReason.PORTAL: gettext_lazy("Bitrix24 is not responding. The next attempt is at %(time)s."),
    Job.WaitReason.LIMIT: gettext_lazy("Bitrix24's rate limit has been reached. The job continues at %(time)s."),
}
LONG_WAIT = timedelta(minutes=1)  # for a shorter wait the page does not show a time
# What a page says if the portal rejects the app: a title, and what the person can do about it.
REFUSALS = {
    Job.WaitReason.ERROR: (
        gettext_lazy("Something went wrong on our side."),
        gettext_lazy("The app is not configured correctly. Please contact its operator."),
    ),
    Job.WaitReason.DISMISSED: (
        gettext_lazy("Bitrix24 denies you access"),
        gettext_lazy("It reports that you no longer work here. If this is wrong, ask your administrator."),
    ),
    Job.WaitReason.RESTRICTED: (
        gettext_lazy("You do not have access to the app"),
        gettext_lazy("Ask your administrator for access, then open the app again."),
    ),
    Job.WaitReason.PLAN: (
        gettext_lazy("Your Bitrix24 plan does not include apps"),
        gettext_lazy(
            "Apps require a commercial plan. Your administrator can choose one. Running jobs will then continue."
        ),
    ),
    Job.WaitReason.PAYMENT: (
        gettext_lazy("The app is not paid for"),
        gettext_lazy(
            "Its subscription or trial has ended. Your administrator can renew it. Running jobs will then continue."
        ),
    ),
    Job.WaitReason.SCOPE: (
        gettext_lazy("A permission is missing"),
        gettext_lazy("Ask your administrator to grant it on the app's page. Running jobs will then continue."),
    ),
    Job.WaitReason.CONFIRM: (
        gettext_lazy("An administrator has to confirm the app"),
        gettext_lazy(
            "Bitrix24 has sent the administrators a notification. Running jobs will continue after the confirmation."
        ),
    ),
    Job.WaitReason.OVERLOAD: (
        gettext_lazy("Bitrix24 has temporarily blocked the app"),
        gettext_lazy("The load on Bitrix24 was too high. Running jobs will continue automatically."),
    ),
    Job.WaitReason.DELETED: (
        gettext_lazy("This Bitrix24 account has been deleted"),
        gettext_lazy("If it has been restored, open the app again. Running jobs will then continue."),
    ),
    Job.WaitReason.ACCESS: (
        gettext_lazy("Bitrix24 is blocking the app"),
        gettext_lazy("Ask your administrator. Running jobs will continue automatically."),
    ),
}


def reason_and_remedy(job: Job, code: str) -> tuple[str, str]:
    """Why tasks of a job were not deferred or not returned, and what the person can do about it ("" if obvious)."""
    reasons, remedies = REASONS, REMEDIES
    if job.kind == Job.Kind.RETURN:
        reasons, remedies = REASONS | REASONS_OF_RETURNS, REMEDIES | REMEDIES_OF_RETURNS
    return str(reasons[Code(code)]), str(remedies.get(Code(code), ""))


def what_it_waits_for(job: Job) -> str:
    """Why an unfinished job makes no progress at the moment; "" if it does."""
    if jobs.is_stalled(job):
        return no_worker()
    why = jobs.waits_for(job)
    if why in WAITS_UNTIL and job.wait_until and job.wait_until - clock.now() > LONG_WAIT:
        time = formats.time_format(timezone.localtime(job.wait_until), "H:i")
        return str(WAITS_UNTIL[why]) % {"time": time}
    return str(WAITS[why]) if why else ""


def no_worker() -> str:
    return gettext("No worker is running. Your tasks are safe. Work will continue when a worker starts.")


def task_links(person: Person) -> dict[str, str]:
    """For the templates: the portal's address, and the path of a task's page without its id."""
    path = f"/company/personal/user/{person.user_id}/tasks/task/view/"
    return {"portal_url": person.portal.origin, "task_path": path}


@dataclass(frozen=True)
class Trouble:
    """What a page says about a call that failed, and the one action that it offers."""

    title: str
    sentence: str
    action: str = ""  # "reopen" the app, try "again", or "" for none
    code: str = ""  # the portal's error code, for support
    retry: int | None = None  # seconds after which the page tries again


def too_many_jobs() -> Trouble:
    limit = jobs.MAX_UNFINISHED
    sentence = ngettext(
        "You already have %(n)s unfinished job. Stop it, or wait until it has finished.",
        "You already have %(n)s unfinished jobs. Stop one, or wait until one has finished.",
        limit,
    )
    return Trouble(gettext("Too many jobs at once"), sentence % {"n": limit}, "again")


def selection_trouble(code: str) -> Trouble:
    """Why a selection could not be collected, by its failure code."""
    if code == Credential.State.NEEDS_REOPEN:
        return trouble(CredentialRefused(code))
    if code == selections.OURS:
        return Trouble(gettext("Something went wrong on our side."), gettext("Nothing was changed."), "again")
    return trouble(error_for(code))


def trouble(error: BitrixError) -> Trouble:
    if isinstance(error, CredentialRefused):
        return Trouble(gettext("Your session has expired"), gettext("Open the app again to continue."), "reopen")
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        sentence = gettext("Its rate limit has been reached. Please wait a moment.")
        return Trouble(gettext("Bitrix24 is busy"), sentence, retry=max(2, min(60, round(error.delay))))
    if isinstance(error, AccessLost):
        title, advice = REFUSALS[access.meaning(error.code).reason]
        return Trouble(str(title), str(advice), "again", error.code)
    if isinstance(error, Refused):
        sentence = gettext("You do not have access to this list, or it no longer exists.")
        return Trouble(gettext("No access"), sentence, code=error.code)
    sentence = gettext("It may be offline or busy. Nothing has been lost.")
    return Trouble(gettext("Bitrix24 is not responding"), sentence, "again", error.code)
