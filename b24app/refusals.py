"""Refusals of the app as such, not of one task: what each means, whom it stops, and when to ask again.

A refusal that meets everybody parks the portal, so that a hundred jobs cost one question and not a hundred. One
that meets a person stops that person's jobs only. Whoever is let in again, by whatever call, ends it at once.
Source: manual, system-errors.md.
"""

from dataclasses import dataclass
from datetime import timedelta

from b24app import dates
from b24app.bitrix.errors import AccessLost, PersonBlocked
from b24app.models import Job, Person, Portal

HOURLY, DAILY = timedelta(hours=1), timedelta(days=1)

Why = Job.Why


@dataclass(frozen=True)
class Refusal:
    """What a refusal means, and how long to wait until somebody's job asks again."""

    why: Job.Why
    pause: timedelta
    is_vague: bool = False  # it may concern this person only: the code stands for several things


# By lower-cased code. What is not listed is a refusal that we have no words for.
REFUSALS = {
    "access_denied": Refusal(Why.PLAN, DAILY, is_vague=True),  # apps need a commercial plan
    "payment_required": Refusal(Why.PAYMENT, DAILY),
    "insufficient_scope": Refusal(Why.SCOPE, DAILY),
    "invalid_scope": Refusal(Why.SCOPE, DAILY),
    "method_confirm_waiting": Refusal(Why.CONFIRM, HOURLY),
    "overload_limit": Refusal(Why.OVERLOAD, HOURLY),
    "portal_deleted": Refusal(Why.DELETED, DAILY),
    "wrong_client": Refusal(Why.ERROR, HOURLY),  # our own registration
    "invalid_client": Refusal(Why.ERROR, HOURLY),
    "authorization_error": Refusal(Why.DISMISSED, HOURLY),
    "user_access_error": Refusal(Why.RESTRICTED, HOURLY),
    "allowed_only_intranet_user": Refusal(Why.RESTRICTED, HOURLY),
}
UNKNOWN = Refusal(Why.ACCESS, HOURLY, is_vague=True)

# What a person's own jobs may wait for.
OF_A_PERSON = (Why.PERSON, Why.DISMISSED, Why.RESTRICTED, Why.PLAN, Why.ACCESS)


def meaning(code: str) -> Refusal:
    return REFUSALS.get(code.lower(), UNKNOWN)


def note(person: Person, error: AccessLost) -> None:
    """Let what the refusal meets wait: the person's jobs, or the portal's. May be repeated."""
    refusal = meaning(error.code)
    until = dates.now() + refusal.pause
    if isinstance(error, PersonBlocked) or (refusal.is_vague and _others_are_let_in(person)):
        Job.objects.unfinished().filter(person=person).update(
            state=Job.State.WAITING, waiting_why=refusal.why, waiting_code=error.code[:100], waiting_until=until
        )
    else:
        Portal.objects.filter(pk=person.portal_id).update(
            parked_until=until, parked_why=refusal.why, parked_code=error.code[:100]
        )


def _others_are_let_in(person: Person) -> bool:
    """Whether the portal was found open for somebody else lately, after it had refused everybody."""
    lately = Portal.objects.filter(pk=person.portal_id, let_in_at__gt=dates.now() - HOURLY)
    return lately.exclude(let_in_user=person.user_id).exists()


def let_in(person: Person) -> bool:
    """The portal answers this person: what waited for that goes on. Says whether something did.

    For the portal's other people this ends what kept everybody out, and nothing that concerns only them.
    """
    waited = Job.objects.filter(person=person, state=Job.State.WAITING, waiting_why__in=OF_A_PERSON)
    resumed = waited.update(state=Job.State.QUEUED, waiting_why="", waiting_code="", waiting_until=None, setbacks=0)
    return unpark(person) or resumed > 0


def unpark(person: Person) -> bool:
    """The portal answers this person, so it does not refuse everybody; say whether it was parked."""
    parked = Portal.objects.filter(pk=person.portal_id).exclude(parked_until=None)
    seen = {"let_in_at": dates.now(), "let_in_user": person.user_id}
    return parked.update(parked_until=None, parked_why="", parked_code="", **seen) > 0
