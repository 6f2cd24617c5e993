"""`manage.py check_worker [celery@host]`: check that the worker of this machine still reads its messages.

It fails if the worker has read no message for ENGINE_WORKER_SILENCE seconds. A supervisor can then restart the worker.
"""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from b24app.worker import heartbeat


class Command(BaseCommand):
    help = "Fail if the worker of this machine has stopped reading its messages."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("worker", nargs="?", default="", help="the --hostname of the worker, if it has one")

    def handle(self, *args: Any, **options: Any) -> None:
        silent = heartbeat.seconds_silent(options["worker"])
        if silent is None:
            raise CommandError("This worker has not read any message yet.")
        if silent > settings.ENGINE_WORKER_SILENCE:
            raise CommandError(f"This worker has read no message for {silent:.0f} seconds.")
        self.stdout.write(f"This worker has read a message {silent:.0f} seconds ago.")
