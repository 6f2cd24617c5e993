"""The people of a portal: their profiles, administrators, and the holder of a ticket."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b24app.bitrix import bounds, oauth
from b24app.bitrix.errors import Unknown
from b24app.models import Person, Portal
from b24app.portals import clients, credentials

LONGEST_NAME, LONGEST_ZONE = 200, 50  # characters


@dataclass(frozen=True)
class Profile:
    """The holder of a token, as the portal itself describes them."""

    user_id: int
    name: str
    zone: str
    is_admin: bool


def read_profile(result: Any) -> Profile:
    """The profile in an answer to the method `profile`. Raises Unknown if the answer is not a profile."""
    user_id = bounds.identity(result.get("ID")) if isinstance(result, dict) else None
    if user_id is None:
        raise Unknown("garbled_profile")
    names = (bounds.text(result.get(name), LONGEST_NAME) for name in ("NAME", "LAST_NAME"))
    name = " ".join(names).strip()[:LONGEST_NAME]
    return Profile(user_id, name, bounds.text(result.get("TIME_ZONE"), LONGEST_ZONE), result.get("ADMIN") is True)


def save_person(portal: Portal, profile: Profile, pair: oauth.TokenPair, received_at: datetime, **more: str) -> Person:
    """Store a proven person with their current profile, and the pair that they brought at `received_at`."""
    shown = {"name": profile.name, "zone": profile.zone, "is_admin": profile.is_admin, **more}
    person = portal.people.filter(user_id=profile.user_id, **shown).first()
    if person is None:  # a new person, or their profile has changed
        person, _ = portal.people.update_or_create(user_id=profile.user_id, defaults=shown)
    credentials.store_pair(person, pair, received_at)
    return person


def is_admin_now(person: Person) -> bool:
    """Ask the portal whether this person is an administrator now, and store the answer. Raises BitrixError."""
    profile = read_profile(clients.ask(person, lambda client: client.call("profile")).result)
    Person.objects.filter(pk=person.pk).update(is_admin=profile.is_admin)
    person.is_admin = profile.is_admin
    return profile.is_admin


def admin(person_id: int) -> Person | None:
    """This person, if their portal is active and they were an administrator when they last opened the app."""
    admins = Person.objects.filter(is_admin=True, portal__status=Portal.Status.ACTIVE)
    return admins.select_related("portal").filter(pk=person_id).first()


def person_of(portal_id: int, person_id: int, epoch: int) -> Person | None:
    """The holder of a ticket. None if the app has lost access to the portal since the ticket was issued."""
    return (
        Person.objects.select_related("portal")
        .filter(pk=person_id, portal_id=portal_id, portal__epoch=epoch, portal__status=Portal.Status.ACTIVE)
        .first()
    )
