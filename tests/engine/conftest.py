"""The engine called as functions, against the sandbox: waits too short to notice, tasks, and jobs over them."""

import pytest

from b24app.bitrix import limits
from b24app.engine import jobs, selections


@pytest.fixture(autouse=True)
def quick(settings):
    """Waits of the engine too short to notice, in the order they really have."""
    settings.ENGINE_SETTLE_AFTER, settings.ENGINE_READ_TIMEOUT = 1.0, 10.0
    settings.TIME_SCALE = 1000.0


@pytest.fixture(autouse=True)
def five_tasks_at_first(monkeypatch):
    """A job's first batch holds two commands for each of five tasks, whatever the product thinks best."""
    monkeypatch.setattr(limits, "FIRST_BATCH_COMMANDS", 10)


@pytest.fixture
def tasks(sandbox, person):
    """Make tasks of the person; `tasks(120)` in progress, `tasks(3, status=2)` pending."""

    def make(count, **fields):
        return sandbox.tasks("acme", count=count, **{"status": 3, "creator": person.user_id, **fields})

    return make


@pytest.fixture
def job_for(person):
    """A job of the person over these tasks, under a key of its own."""

    def ask(task_ids, key=None):
        selection = selections.select_ticked(person, task_ids)
        return jobs.start(person, selection, "waiting for parts", key or f"{task_ids}"[:64])

    return ask
