"""`manage.py migrate`, for which a statement may take as long as it does.

The limits of settings.py are made for requests and slices; filling a new column of a large table takes longer. Only
the wait for a lock stays limited: whoever comes after a migration that waits would wait behind it.
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
