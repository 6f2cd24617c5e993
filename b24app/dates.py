"""Time: the one clock of all that is due."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, in UTC. Everything due is compared with this and with nothing else.

    Leases, refresh claims and the bucket of requests are the exception: they use the database's clock, because they
    settle which of several machines may act, and two machines' clocks may differ.

    In a demo CLOCK_FILE moves it, for us and for the sandbox alike. Raises ValueError when that holds no time.
    """
    return timezone.now() + ahead()


def ahead() -> timedelta:
    """How far CLOCK_FILE moves the clock. Raises ValueError when that holds no time."""
    return _offset(Path(settings.CLOCK_FILE)) if settings.CLOCK_FILE else timedelta()


def _offset(file: Path) -> timedelta:
    """How far `file` moves the clock; not at all when there is none."""
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
