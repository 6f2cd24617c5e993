"""`manage.py migrate` without a time limit for its statements.

The limits in settings.py are for requests and slices. Filling a new column of a large table takes longer. Only the wait
for a lock stays limited, because all other queries of the table would wait behind a migration that waits for its lock.
"""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
                cursor.execute("SET idle_in_transaction_session_timeout = 0")
        super().handle(*args, **options)
