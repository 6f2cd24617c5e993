"""Time: the one clock of all that is due."""

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, in UTC. Everything due is compared with this and with nothing else.

    Leases and refresh claims are the exception: they use the database's clock, because they settle which of
    several machines may act, and two machines' clocks may differ.
    """
    return timezone.now()
