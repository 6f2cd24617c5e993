"""Hints: how the web tells the workers, and how little depends on it."""

import threading

import pytest
from django.conf import settings
from kombu.exceptions import OperationalError

from b24app import jobs
from b24app.celery import app

MESSAGES = settings.VAR_DIR / "messages"


@pytest.fixture
def queue():
    """The embedded broker's queue, empty."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        queue.clear()
        yield queue
        queue.clear()


def test_a_hint_of_any_thread_of_the_web_reaches_the_broker(queue):
    thread = threading.Thread(target=jobs.hint, args=(jobs.run_slice, 7))
    thread.start()
    thread.join()
    message = queue.get(timeout=5)
    message.ack()
    assert message.headers["task"] == "b24app.jobs.run_slice"
    assert message.payload[0] == [7]


def test_a_message_is_never_seen_half_written(queue, monkeypatch):
    seen = []
    monkeypatch.setattr("b24app.broker.dumps", lambda payload: seen.extend(MESSAGES.glob("*.msg")) or "{}")
    jobs.hint(jobs.run_slice, 7)
    assert seen == []
    assert [path.read_text() for path in MESSAGES.glob("*.msg")] == ["{}"]
    assert list(MESSAGES.glob("*.draft")) == []


def test_messages_are_read_in_the_order_of_sending(queue):
    for portal in (3, 1, 2):
        jobs.hint(jobs.run_slice, portal)
    assert [queue.get(timeout=5).payload[0][0] for _ in range(3)] == [3, 1, 2]


def test_a_broker_that_is_away_costs_no_error(monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr(jobs.run_slice, "delay", refuse)
    jobs.hint(jobs.run_slice, 7)
    assert "run_slice 7 waits for the sweep" in caplog.text
