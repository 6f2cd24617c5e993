"""Celery tasks. A message only says that a portal may have work; the database says what the work is."""

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
SOON = 60.0  # seconds; the sweep enqueues a slice that is due later


@app.task
def run_slice(portal_id: int) -> None:
    """Run one slice of a portal. If it has more work, enqueue it behind the other portals."""
    seconds = slices.run(portal_id) if queue.message_received(portal_id) else None
    if seconds is not None and seconds < SOON:
        enqueue(portal_id, seconds)


@app.task
def sweep() -> None:
    """Enqueue every portal that has work and no worker, and delete expired rows.

    It finds work without a message: messages can be lost, workers can die, and waiting jobs become due.
    """
    for portal_id in queue.portals_with_work():
        enqueue(portal_id)
    for portal_id in uninstall.unconfirmed():
        send(confirm_uninstall, portal_id)
    housekeeping.delete_expired()


@app.task
def confirm_uninstall(portal_id: int) -> None:
    """Ask whether a portal has really uninstalled the app, after an event has reported it."""
    uninstall.confirm(portal_id)


@app.task
def check_bindings(person_id: int) -> None:
    """Repair the menu entries and events of a portal with the rights of an admin who has just opened the app."""
    person = people.admin(person_id)
    if person is None or not installation.needs_bindings_checked(person):
        return
    try:
        installation.bind(person)
    except (BitrixError, installation.NotAllowed):
        logger.warning("portal %s: bindings not repaired; the next opening by an admin tries again", person.portal_id)


def enqueue(portal_id: int, seconds: float = 0.0) -> None:
    """Send a message to run a slice of this portal in `seconds`, unless such a message is already in the queue."""
    if queue.claim_message(portal_id, seconds) and not send(run_slice, portal_id, seconds):
        queue.release_message(portal_id)


def send(job: "Task[[int], None]", subject_id: int, seconds: float = 0.0) -> bool:
    """Send a message. Return False if the broker did not accept it: the sweep then finds the work later."""
    try:
        job.apply_async((subject_id,), countdown=seconds, expires=seconds + settings.ENGINE_MESSAGE_LIFE)
    except (OperationalError, OSError):
        logger.warning("broker not reachable; %s %s waits for the sweep", job.name, subject_id)
        return False
    return True
