"""Counts and times the database queries of a call. For scripts that run with the app's settings."""

import re
import time
from contextlib import contextmanager
from functools import partial
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext

TRANSACTION_WORDS = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")


class Asked:
    """The statements of a call, without those that only begin or end a transaction."""

    def __init__(self, queries, seconds):
        self.statements = [query["sql"] for query in queries if not query["sql"].startswith(TRANSACTION_WORDS)]
        self.milliseconds = sum(seconds) * 1000

    def __len__(self):
        return len(self.statements)


def asked_by(act):
    with CaptureQueriesContext(connection) as captured, stopwatch() as seconds:
        act()
    return Asked(captured.captured_queries, seconds)


@contextmanager
def stopwatch():
    """The seconds of each statement and commit; Django's own log rounds to milliseconds."""
    seconds = []

    def timed(ask, *arguments):
        started = time.perf_counter()
        try:
            return ask(*arguments)
        finally:
            seconds.append(time.perf_counter() - started)

    commit = mock.patch.object(connection, "_commit", partial(timed, connection._commit))
    with connection.execute_wrapper(timed), commit:
        yield seconds


def explained(statement):
    """The execution time of a statement in milliseconds, and its plan."""
    with connection.cursor() as cursor:
        cursor.execute(f"explain analyze {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    return float(re.search(r"Execution Time: ([\d.]+)", plan).group(1)), plan
