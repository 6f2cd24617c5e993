"""Time: the one clock of all that is due."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, in UTC. Everything due is compared with this and with nothing else.

    What one machine writes and another one measures is the exception, because two machines' clocks may differ: leases
    and claims, the bucket of requests, and how long ago a task was read or sent, use the database's clock
    (models.database_now, shared_now).
    """
    return timezone.now() + offset()


def offset() -> timedelta:
    """How far CLOCK_FILE moves the clock in a demo, for us and for the sandbox alike; not at all elsewhere.

    Raises ValueError when it holds no time.
    """
    if not settings.CLOCK_FILE:
        return timedelta()
    file = Path(settings.CLOCK_FILE)
    try:
        written = file.stat()
        return _offset_written(file, written.st_mtime_ns, written.st_size)
    except FileNotFoundError:
        return timedelta()


@lru_cache(maxsize=1)  # it is asked all the time and changes hardly ever; its time and size tell
def _offset_written(file: Path, written_ns: int, size: int) -> timedelta:
    """Seconds ahead, or what an ISO instant was ahead when the file was written: time goes on from there."""
    text = file.read_text().strip()
    try:
        return timedelta(seconds=float(text or 0))
    except ValueError:
        instant = datetime.fromisoformat(text)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware - datetime.fromtimestamp(written_ns / 1e9, UTC)
