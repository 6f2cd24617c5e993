"""Background jobs. A message is a hint that a portal may have work; the database says what the work is."""

import logging

from kombu.exceptions import OperationalError

from b24app import slices
from b24app.celery import app

logger = logging.getLogger(__name__)

SOON = 60.0  # seconds; what is due later is left to the sweep


@app.task
def run_slice(portal_id: int) -> None:
    """Work on a portal for a while, then go to the end of the queue, so that others get their turn."""
    if not slices.run(portal_id):
        return
    seconds = slices.seconds_until_work(portal_id)
    if seconds is not None and seconds < SOON:
        run_slice.apply_async((portal_id,), countdown=seconds)


@app.task
def sweep() -> None:
    """Hint at every portal that has work and nobody at it: messages get lost, workers die, times come."""
    for portal_id in slices.portals_with_work():
        run_slice.delay(portal_id)
    slices.forget_expired()


def hint(portal_id: int) -> None:
    """Tell a worker to look at this portal. Losing the hint costs only time, until the next sweep."""
    try:
        run_slice.delay(portal_id)
    except (OperationalError, OSError):
        logger.warning("broker not reachable; portal %s waits for the sweep", portal_id)
