"""Whether workers still read their messages: one that runs and reads nothing looks healthy from outside.

Each worker has a queue of its own beside the common one (CELERY_WORKER_DIRECT), to which it sends itself a message
every HEARTBEAT_EVERY seconds. It comes the way of all messages: broker, consumer, pool. When a worker has read any
message, it says so in a file of this machine, for `manage.py check_worker`; that a sweep was read is noted in the
database, for /readyz. Not by the sweep alone: of several workers one reads it, and the others would look dead.
"""

import logging
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Task, signals
from celery.utils.nodenames import default_nodename, worker_direct
from django.conf import settings
from kombu.exceptions import OperationalError

from b24app.celery import app
from b24app.clock import database_now
from b24app.models import WorkerHeartbeat

logger = logging.getLogger(__name__)
SWEEP = "b24app.worker.messages.sweep"


@app.task
def heartbeat() -> None:
    """Nothing to do: that it was read is all."""


def seconds_silent(worker: str = "") -> float | None:
    """Seconds since this worker of this machine has read a message, None when it never did. By default the worker
    with Celery's own name."""
    try:
        return time.time() - _file_of(worker or default_nodename("")).stat().st_mtime
    except FileNotFoundError:
        return None


def is_any_worker_alive() -> bool:
    """Whether a worker has read a sweep lately. One query."""
    silence = timedelta(seconds=settings.WORKER_SILENCE)
    return WorkerHeartbeat.objects.filter(at__gt=database_now() - silence).exists()


def _file_of(worker: str) -> Path:
    return Path(settings.VAR_DIR) / f"{worker.replace('/', '_')}.read"


@signals.worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    threading.Thread(target=_keep_sending, args=(sender.hostname,), daemon=True).start()


def _keep_sending(worker: str) -> None:
    while True:
        try:
            heartbeat.apply_async(queue=worker_direct(worker), expires=settings.WORKER_SILENCE)
        except (OperationalError, OSError):
            logger.warning("broker not reachable; no message to ourselves")
        time.sleep(settings.HEARTBEAT_EVERY)


@signals.task_prerun.connect
def record_heartbeat(task: "Task[Any, Any]", **_: Any) -> None:
    if worker := task.request.hostname:  # none where a test calls it as a function
        _file_of(worker).touch()
    if task.name == SWEEP:
        WorkerHeartbeat.objects.update_or_create(pk=1, defaults={"at": database_now()})
