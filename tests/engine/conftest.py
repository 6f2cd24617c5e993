"""Fixtures for the engine, called as functions against the sandbox: short waits, tasks and jobs."""

import pytest

from b24app.bitrix import limits
from b24app.engine import jobs, selections


@pytest.fixture(autouse=True)
def quick(settings):
    """Make the waits of the engine short; their order stays as in production."""
    settings.ENGINE_SETTLE_AFTER, settings.ENGINE_READ_TIMEOUT = 1.0, 10.0
    settings.TIME_SCALE = 1000.0


@pytest.fixture(autouse=True)
def five_tasks_at_first(monkeypatch):
    """Let the first batch of a job contain two commands for each of five tasks."""
    monkeypatch.setattr(limits, "FIRST_BATCH_COMMANDS", 10)


@pytest.fixture
def tasks(sandbox, person):
    """Create tasks of the person: `tasks(120)` are in progress, `tasks(3, status=2)` are pending."""

    def make(count, **fields):
        return sandbox.tasks("acme", count=count, **{"status": 3, "creator": person.user_id, **fields})

    return make


@pytest.fixture
def job_for(person):
    """Start a job of the person over these tasks. The key differs for other tasks."""

    def ask(task_ids, key=None):
        selection = selections.select_ticked(person, task_ids)
        return jobs.start(person, selection, "waiting for parts", key or f"{task_ids}"[:64])

    return ask
