"""Time: the one clock of everything that is due, and the database's clock in a query."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
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


def database_now() -> Now:
    """The database's clock, in a query: the one clock that all machines share."""
    return Now()


def shared_now() -> models.expressions.Combinable:
    """The same clock, moved as a demo's is: for what one machine notes and another one measures."""
    return Now() + offset()


class UnixNow(models.Func):
    """The same clock in unix seconds, at the moment when a row is looked at and not when it was waited for."""

    output_field = models.FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "extract(epoch from clock_timestamp())::double precision"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday('now') - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)
