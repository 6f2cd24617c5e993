"""Deletes expired rows. The sweep calls it."""

from datetime import timedelta

from b24app import clock
from b24app.engine import selections
from b24app.models import PendingOpening, RestCall, Selection
from b24app.portals import throttle, uninstall

JOURNAL_LIFE = timedelta(days=7)


def delete_expired() -> None:
    """Delete expired rows of the journal, of selections, of stashed and failed openings, and of uninstalled portals."""
    now = clock.now()
    RestCall.objects.filter(at__lt=now - JOURNAL_LIFE).delete()
    Selection.objects.filter(created_at__lt=now - 2 * selections.LIFE).delete()
    PendingOpening.objects.filter(expires_at__lt=now).delete()
    uninstall.delete_expired()
    throttle.delete_expired()
