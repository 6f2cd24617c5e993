"""The texts that views show: reasons, waits and troubles."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import formats, timezone
from django.utils.translation import gettext, gettext_lazy

from b24app import dates, deferrals, refusals, selections
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    OperatingLimit,
    Refused,
    TooManyRequests,
    error_for,
)
from b24app.models import Credential, Job, JobItem, Person

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
    Code.AWAKE: gettext_lazy("Taken up again already"),
    Code.DEFERRED_ANEW: gettext_lazy("Deferred again by somebody else"),
    Code.NOT_STARTED: gettext_lazy("Back, but not in progress"),
}
# What to do about it, where that is not plain.
REMEDIES = {
    Code.NOT_PERMITTED: gettext_lazy("They are as they were. Ask their creator or an administrator."),
    Code.CHANGING: gettext_lazy("They are as others left them. Try again later."),
    Code.REFUSED: gettext_lazy("They are as they were. Try again later."),
    Code.LEFT_PAUSED: gettext_lazy("Please open each one and start it again."),
}
# The same where tasks were to be returned, as far as it is another thing there.
REASONS_OF_RETURNS = {Code.NOT_PERMITTED: gettext_lazy("You may not return these tasks")}
REMEDIES_OF_RETURNS = {
    Code.NOT_PERMITTED: gettext_lazy("They are still deferred. Ask their creator or an administrator."),
    Code.REFUSED: gettext_lazy("They are still deferred. Try again later."),
    Code.NOT_STARTED: gettext_lazy("They are pending now. Please start them in Bitrix24."),
}
# What a job waits for.
WAITS = {
    Job.Why.PERSON: gettext_lazy("Bitrix24 wants to see you again: close this app and open it anew."),
    Job.Why.PORTAL: gettext_lazy("Bitrix24 does not answer at the moment; going on as soon as it does."),
    Job.Why.LIMIT: gettext_lazy("Bitrix24 asks us to slow down; going on by itself."),
    Job.Why.ERROR: gettext_lazy("Something went wrong on our side; trying again by itself."),
    Job.Why.DISMISSED: gettext_lazy("Bitrix24 says that you no longer work here; looking again every hour."),
    Job.Why.RESTRICTED: gettext_lazy("You may not use the app at the moment; looking again every hour."),
    Job.Why.PLAN: gettext_lazy(
        "This Bitrix24's plan has no apps; looking again every day, and when anybody is let in."
    ),
    Job.Why.PAYMENT: gettext_lazy("The app is not paid for; looking again every day, and when anybody is let in."),
    Job.Why.SCOPE: gettext_lazy("The app lacks a permission; looking again every day, and when anybody is let in."),
    Job.Why.CONFIRM: gettext_lazy("An administrator has to confirm the app in Bitrix24; looking again every hour."),
    Job.Why.OVERLOAD: gettext_lazy("Bitrix24 has blocked the app for a while; looking again every hour."),
    Job.Why.DELETED: gettext_lazy("This Bitrix24 is said to be deleted; looking again every day."),
    Job.Why.ACCESS: gettext_lazy("Bitrix24 does not let the app in at the moment. Ask your administrator."),
}
# The same where it is known for how long.
WAITS_UNTIL = {
    Job.Why.PORTAL: gettext_lazy("Bitrix24 does not answer at the moment; trying again at %(time)s."),
    Job.Why.LIMIT: gettext_lazy("Bitrix24 asks us to slow down; going on by itself at %(time)s."),
}
LONG_WAIT = timedelta(minutes=1)  # shorter ones are over before anybody has looked at the clock
# What a page says when the portal refuses the app: a title, and what to do about it.
REFUSALS = {
    Job.Why.ERROR: (
        gettext_lazy("Something went wrong on our side."),
        gettext_lazy("Bitrix24 does not know the app as it is set up here. Tell whoever runs it."),
    ),
    Job.Why.DISMISSED: (
        gettext_lazy("Bitrix24 does not let you in"),
        gettext_lazy("It says that you no longer work here. Ask your administrator if that is wrong."),
    ),
    Job.Why.RESTRICTED: (
        gettext_lazy("You may not use the app"),
        gettext_lazy("Ask your administrator to let you use it. Then open it again."),
    ),
    Job.Why.PLAN: (
        gettext_lazy("This Bitrix24's plan has no apps"),
        gettext_lazy("Apps need a commercial plan; your administrator can choose one. Running jobs wait for it."),
    ),
    Job.Why.PAYMENT: (
        gettext_lazy("The app is not paid for"),
        gettext_lazy("Its subscription or trial has ended; your administrator can renew it. Running jobs wait for it."),
    ),
    Job.Why.SCOPE: (
        gettext_lazy("A permission is missing"),
        gettext_lazy("Ask your administrator to allow it on the app's card. Running jobs wait for it."),
    ),
    Job.Why.CONFIRM: (
        gettext_lazy("An administrator has to confirm the app"),
        gettext_lazy("Bitrix24 has asked for it in its notifications. Running jobs wait for it."),
    ),
    Job.Why.OVERLOAD: (
        gettext_lazy("Bitrix24 has blocked the app for a while"),
        gettext_lazy("It was too much for Bitrix24. Running jobs wait and go on by themselves."),
    ),
    Job.Why.DELETED: (
        gettext_lazy("This Bitrix24 was deleted"),
        gettext_lazy("If it has been brought back, open the app again. Running jobs wait for it."),
    ),
    Job.Why.ACCESS: (
        gettext_lazy("Bitrix24 does not let the app in"),
        gettext_lazy("Please ask your administrator. Running jobs wait and go on by themselves."),
    ),
}


def reason_and_remedy(job: Job, code: str) -> tuple[str, str]:
    """Why tasks of a job were not deferred, or not returned, and what to do about it."""
    reasons, remedies = REASONS, REMEDIES
    if job.kind == Job.Kind.RETURN:
        reasons, remedies = REASONS | REASONS_OF_RETURNS, REMEDIES | REMEDIES_OF_RETURNS
    return str(reasons[Code(code)]), str(remedies.get(Code(code), ""))


def what_it_waits_for(job: Job) -> str:
    """Why an unfinished job does not move at the moment; "" when it does."""
    if deferrals.is_stalled(job):
        return no_worker()
    why = deferrals.waits_for(job)
    if why in WAITS_UNTIL and job.waiting_until and job.waiting_until - dates.now() > LONG_WAIT:
        time = formats.time_format(timezone.localtime(job.waiting_until), "H:i")
        return str(WAITS_UNTIL[why]) % {"time": time}
    return str(WAITS[why]) if why else ""


def no_worker() -> str:
    return gettext("No worker is running. The tasks are safe; going on as soon as one starts.")


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


def selection_trouble(code: str) -> Trouble:
    """What kept a selection from being collected, by the code that is written on it."""
    if code == Credential.State.NEEDS_REOPEN:
        return trouble(CredentialRefused(code))
    if code == selections.OURS:
        return Trouble(gettext("Something went wrong on our side."), gettext("Nothing was changed."), "again")
    return trouble(error_for(code))


def trouble(error: BitrixError) -> Trouble:
    if isinstance(error, CredentialRefused):
        return Trouble(gettext("Your session ended"), gettext("Bitrix24 wants to see you again."), "reopen")
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        sentence = gettext("It asks us to slow down; trying again by itself.")
        return Trouble(gettext("Bitrix24 is busy"), sentence, retry=max(2, min(60, round(error.delay))))
    if isinstance(error, AccessLost):
        title, advice = REFUSALS[refusals.meaning(error.code).why]
        return Trouble(str(title), str(advice), "again", error.code)
    if isinstance(error, Refused):
        sentence = gettext("You may not see this list, or it is no longer there.")
        return Trouble(gettext("No access"), sentence, code=error.code)
    sentence = gettext("It may be offline or busy. Nothing is lost.")
    return Trouble(gettext("Bitrix24 does not answer"), sentence, "again", error.code)
