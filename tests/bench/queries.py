"""What an act asks the database, and how long that takes. For scripts that run with the app's settings."""

import re

from django.db import connection
from django.test.utils import CaptureQueriesContext

TRANSACTION_WORDS = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")


class Asked:
    """The statements of an act; those that only begin or end a transaction take time and are not counted."""

    def __init__(self, queries):
        self.statements = [query["sql"] for query in queries if not query["sql"].startswith(TRANSACTION_WORDS)]
        self.milliseconds = sum(float(query["time"]) for query in queries) * 1000

    def __len__(self):
        return len(self.statements)


def asked_by(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return Asked(captured.captured_queries)


def explained(statement):
    """Milliseconds that the database executes a statement, and its plan."""
    with connection.cursor() as cursor:
        cursor.execute(f"explain analyze {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    return float(re.search(r"Execution Time: ([\d.]+)", plan).group(1)), plan
