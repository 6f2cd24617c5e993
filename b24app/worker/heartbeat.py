"""Heartbeats: they show whether a worker still reads its messages. A process that runs may have stopped reading.

Each worker sends a heartbeat to its own queue (CELERY_WORKER_DIRECT) every ENGINE_HEARTBEAT_EVERY seconds. It takes the
same path as real messages: broker, consumer, thread pool. The sweep cannot serve as a heartbeat: only one of several
workers receives it.

A worker records each message that it reads: in a file of its machine, for `manage.py check_worker`. It also records
each sweep in the database, for /readyz.
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
    """Do nothing: `record_heartbeat` runs before every task."""


def seconds_silent(worker: str = "") -> float | None:
    """Seconds since the worker `worker` of this machine has read a message; None if it never has.

    The default is the worker with the name that Celery gives if no --hostname is set.
    """
    try:
        return time.time() - _file_of(worker or default_nodename("")).stat().st_mtime
    except FileNotFoundError:
        return None


def is_any_worker_alive() -> bool:
    """True if a worker has read a sweep in the last ENGINE_WORKER_SILENCE seconds. One query."""
    silence = timedelta(seconds=settings.ENGINE_WORKER_SILENCE)
    return WorkerHeartbeat.objects.filter(at__gt=database_now() - silence).exists()


def _file_of(worker: str) -> Path:
    return Path(settings.VAR_DIR) / f"{worker.replace('/', '_')}.read"


@signals.worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    threading.Thread(target=_keep_sending, args=(sender.hostname,), daemon=True).start()


def _keep_sending(worker: str) -> None:
    while True:
        try:
            heartbeat.apply_async(queue=worker_direct(worker), expires=settings.ENGINE_WORKER_SILENCE)
        except (OperationalError, OSError):
            logger.warning("broker not reachable; no heartbeat sent")
        time.sleep(settings.ENGINE_HEARTBEAT_EVERY)


@signals.task_prerun.connect
def record_heartbeat(task: "Task[Any, Any]", **_: Any) -> None:
    if worker := task.request.hostname:  # None if a test calls the task as a function
        _file_of(worker).touch()
    if task.name == SWEEP:
        WorkerHeartbeat.objects.update_or_create(pk=1, defaults={"at": database_now()})
