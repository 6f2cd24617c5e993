"""An upgrade from version 0.1 keeps every row, and so does the way back. Messages of 0.1 are still understood."""

import json

import pytest
from django.conf import settings

from b24app.celery import app as celery_app
from b24app.worker import messages, old_names
from tests.conftest import SERVERS, SQLITE
from tests.processes import App

BEFORE, AFTER = "0004_going_on", "0005_standard_words"
RENAMED_TABLES = {
    "defer_owedreturn": "defer_orphaneddeferral",
    "defer_failedproof": "defer_failedopening",
    "defer_lastsweep": "defer_workerheartbeat",
}
RENAMED_COLUMNS = {
    ("defer_portal", "removal_reported_at"): "uninstall_reported_at",
    ("defer_portal", "removal_is_clean"): "uninstall_is_clean",
    ("defer_portal", "removal_refuted_at"): "uninstall_refuted_at",
    ("defer_portal", "removal_tried_at"): "uninstall_checked_at",
    ("defer_portal", "removed_at"): "uninstalled_at",
    ("defer_portal", "removed_token_digest"): "uninstalled_token_digest",
    ("defer_portal", "parked_why"): "parked_reason",
    ("defer_portal", "let_in_at"): "admitted_at",
    ("defer_portal", "let_in_user"): "admitted_user",
    ("defer_portal", "hint_due_at"): "message_due_at",
    ("defer_selection", "why"): "failure_code",
    ("defer_job", "first_id"): "original_id",
    ("defer_job", "waiting_why"): "wait_reason",
    ("defer_job", "waiting_until"): "wait_until",
    ("defer_job", "waiting_code"): "wait_code",
    ("defer_jobitem", "wakes_id"): "returns_id",
    ("defer_jobitem", "directly"): "direct",
    ("defer_jobitem", "who"): "changed_by",
}


@pytest.fixture
def app(empty_database, app_port, tmp_path):
    """The app with an empty database as version 0.1 had it."""
    app = App(tmp_path, app_port, empty_database, {})
    app.manage("migrate", "defer", BEFORE)
    return app


def fill(app, migration, first_number):
    """Add rows to every table; return the columns of each table."""
    return json.loads(app.python(f"from tests import history; history.fill({migration!r}, {first_number})"))


def renamed(tables):
    """The same tables and columns, with their names after the upgrade."""
    return {
        RENAMED_TABLES.get(table, table): [RENAMED_COLUMNS.get((table, column), column) for column in columns]
        for table, columns in tables.items()
    }


def contents(app, tables):
    """All rows of all tables, in the order of `tables`."""
    return [app.rows(f"select {', '.join(columns)} from {table} order by id") for table, columns in tables.items()]


@pytest.mark.parametrize("stack", [SQLITE, pytest.param(SERVERS, marks=pytest.mark.postgres)], indirect=True)
def test_upgrade_and_downgrade_keep_all_rows(app):
    old = fill(app, BEFORE, 0)
    new = renamed(old)
    rows = contents(app, old)
    assert {len(table) for table in rows} == {3}
    assert all(value is not None for table in rows for value in table[0])

    app.manage("migrate", "defer", AFTER)
    assert contents(app, new) == rows
    added = fill(app, AFTER, 1000)
    assert {table: set(columns) for table, columns in added.items()} == {t: set(columns) for t, columns in new.items()}
    all_rows = contents(app, new)

    app.manage("migrate", "defer", BEFORE)
    assert contents(app, old) == all_rows
    assert [table[:3] for table in all_rows] == rows


# -- Messages of version 0.1


OLD_TASKS = {
    "b24app.jobs.run_slice": "run_slice",
    "b24app.jobs.sweep": "sweep",
    "b24app.jobs.confirm_removal": "confirm_uninstall",
    "b24app.jobs.check_bindings": "check_bindings",
}


@pytest.mark.parametrize("old, new", OLD_TASKS.items())
def test_an_old_message_does_the_same(monkeypatch, old, new):
    calls = []
    monkeypatch.setattr(messages, new, lambda *arguments: calls.append(arguments))
    arguments = () if new == "sweep" else (7,)
    celery_app.tasks[old](*arguments)
    assert calls == [arguments]


def test_an_old_heartbeat_is_read(monkeypatch):
    calls = []
    monkeypatch.setattr(old_names.heartbeat, "heartbeat", lambda: calls.append("read"))
    celery_app.tasks["b24app.canary.canary"]()
    assert calls == ["read"]


def test_workers_know_old_and_new_names():
    celery_app.loader.import_default_modules()
    new = {f"b24app.worker.messages.{name}" for name in OLD_TASKS.values()} | {"b24app.worker.heartbeat.heartbeat"}
    assert new | {*OLD_TASKS, "b24app.canary.canary"} <= set(celery_app.tasks)
    assert settings.CELERY_BEAT_SCHEDULE["sweep"]["task"] in celery_app.tasks
