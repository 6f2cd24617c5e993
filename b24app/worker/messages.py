"""Background jobs. A message is a hint that a portal may have work; the database says what the work is."""

import logging

from celery import Task
from django.conf import settings
from kombu.exceptions import OperationalError

from b24app.bitrix.errors import BitrixError
from b24app.celery import app
from b24app.engine import queue, slices
from b24app.portals import installation, people, uninstall
from b24app.worker import housekeeping

logger = logging.getLogger(__name__)
SOON = 60.0  # seconds; what is due later is left to the sweep


@app.task
def run_slice(portal_id: int) -> None:
    """Work on a portal for a while, then go to the end of the queue, so that others get their turn."""
    seconds = slices.run(portal_id) if queue.message_received(portal_id) else None
    if seconds is not None and seconds < SOON:
        enqueue(portal_id, seconds)


@app.task
def sweep() -> None:
    """Hint at every portal that has work and nobody at it: messages get lost, workers die, times come."""
    for portal_id in queue.portals_with_work():
        enqueue(portal_id)
    for portal_id in uninstall.unconfirmed():
        send(confirm_uninstall, portal_id)
    housekeeping.delete_expired()


@app.task
def confirm_uninstall(portal_id: int) -> None:
    """Find out whether a portal that is said to have removed the app really has."""
    uninstall.confirm(portal_id)


@app.task
def check_bindings(person_id: int) -> None:
    """Repair the portal's menu entries and events with the rights of an admin who is there right now."""
    person = people.admin(person_id)
    if person is None or not installation.needs_bindings_checked(person):
        return
    try:
        installation.bind(person)
    except (BitrixError, installation.NotAllowed):
        logger.warning("portal %s: bindings not repaired; the next admin's opening tries again", person.portal_id)


def enqueue(portal_id: int, seconds: float = 0.0) -> None:
    """Tell a worker to look at a portal in `seconds`, unless a message that says so is under way already."""
    if queue.claim_message(portal_id, seconds) and not send(run_slice, portal_id, seconds):
        queue.release_message(portal_id)


def send(job: "Task[[int], None]", subject_id: int, seconds: float = 0.0) -> bool:
    """Tell a worker what to look at, and say whether the broker took it. Losing the hint costs only time."""
    try:
        job.apply_async((subject_id,), countdown=seconds, expires=seconds + settings.MESSAGE_LIFE)
    except (OperationalError, OSError):
        logger.warning("broker not reachable; %s %s waits for the sweep", job.name, subject_id)
        return False
    return True
