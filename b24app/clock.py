"""Time: the clock that everything due is compared with, and the database clock for queries."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


def now() -> datetime:
    """The current time, aware, in UTC. Everything due is compared with this.

    Exception: times that one machine writes and another compares (leases, claims, the request bucket, and how long
    ago a task was read or sent) use the database clock, because the clocks of two machines may differ
    (`database_now`, `shared_now`).
    """
    return timezone.now() + offset()


def offset() -> timedelta:
    """How far CLOCK_FILE moves the clock, for the app and for the sandbox. Zero outside of a demo.

    Raises ValueError if the file does not contain a time.
    """
    if not settings.CLOCK_FILE:
        return timedelta()
    file = Path(settings.CLOCK_FILE)
    try:
        written = file.stat()
        return _offset_written(file, written.st_mtime_ns, written.st_size)
    except FileNotFoundError:
        return timedelta()


@lru_cache(maxsize=1)  # called very often; the file rarely changes, and then its time or size does
def _offset_written(file: Path, written_ns: int, size: int) -> timedelta:
    """The offset in the file: a number of seconds, or an ISO time that was the current time when it was written."""
    text = file.read_text().strip()
    try:
        return timedelta(seconds=float(text or 0))
    except ValueError:
        instant = datetime.fromisoformat(text)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware - datetime.fromtimestamp(written_ns / 1e9, UTC)


def database_now() -> Now:
    """The database clock, in a query. All machines share it."""
    return Now()


def shared_now() -> models.expressions.Combinable:
    """The database clock plus the demo offset. Use it for times that one machine writes and another compares."""
    return Now() + offset()


class UnixNow(models.Func):
    """The database clock in unix seconds: the time at which the row is evaluated.

    Not the start of the transaction, so waiting for a row lock does not make it stale.
    """

    output_field = models.FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "extract(epoch from clock_timestamp())::double precision"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday('now') - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)
