"""Messages: how the web tells workers about work, and that work is done without them too, only later."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db.models import F
from kombu.exceptions import OperationalError

from b24app.celery import app
from b24app.engine import queue, slices
from b24app.models import Portal
from b24app.worker import messages
from tests.environment import ROOT, bare_environment

MESSAGES = settings.VAR_DIR / "messages"


@pytest.fixture
def inbox():
    """The embedded broker's queue, empty."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as inbox:
        inbox.clear()
        yield inbox
        inbox.clear()


def test_any_thread_can_send_a_message(inbox):
    thread = threading.Thread(target=messages.send, args=(messages.run_slice, 7))
    thread.start()
    thread.join()
    message = inbox.get(timeout=5)
    message.ack()
    assert message.headers["task"] == "b24app.worker.messages.run_slice"
    assert message.payload[0] == [7]


def test_messages_appear_complete(inbox, monkeypatch):
    seen = []
    monkeypatch.setattr("b24app.worker.broker.dumps", lambda payload: seen.extend(MESSAGES.glob("*.msg")) or "{}")
    messages.send(messages.run_slice, 7)
    assert seen == []
    assert [path.read_text() for path in MESSAGES.glob("*.msg")] == ["{}"]
    assert list(MESSAGES.glob("*.draft")) == []


def test_messages_are_read_in_order(inbox):
    for portal in (3, 1, 2):
        messages.send(messages.run_slice, portal)
    assert [inbox.get(timeout=5).payload[0][0] for _ in range(3)] == [3, 1, 2]


def test_a_missing_broker_is_no_error(monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr(messages.run_slice, "apply_async", refuse)
    messages.send(messages.run_slice, 7)
    assert "run_slice 7 waits for the sweep" in caplog.text


SEND = """
import time
import django; django.setup()
from b24app.worker import messages
started = time.monotonic()
print(messages.send(messages.run_slice, 7), time.monotonic() - started)
"""


def test_a_silent_broker_delays_a_page_briefly(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        own = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0", "VAR_DIR": str(tmp_path)}
        environment = bare_environment() | {"DJANGO_SETTINGS_MODULE": "b24app.settings", "ENV_FILE": os.devnull} | own
        code = [sys.executable, "-c", SEND]
        done = subprocess.run(code, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20)
    taken, seconds = done.stdout.split()
    assert taken == "False", done.stderr
    assert float(seconds) < 5


# -- One message per portal


@pytest.fixture
def portals_with_work(db, monkeypatch):
    made = [Portal.objects.create(member_id=f"{n}" * 32, endpoint="https://a.example/rest/").pk for n in range(3)]
    monkeypatch.setattr(queue, "portals_with_work", lambda: made)
    return made


def received(inbox):
    found = []
    with contextlib.suppress(inbox.Empty):
        while message := inbox.get(timeout=0.3):
            message.ack()
            found.append(message.payload[0][0])
    return found


def test_sweeps_make_one_message_per_portal(inbox, portals_with_work):
    for _ in range(100):
        messages.sweep()
    assert sorted(received(inbox)) == portals_with_work


def test_a_read_message_allows_another(inbox, portals_with_work, monkeypatch):
    monkeypatch.setattr(slices, "run", lambda portal_id: False)
    messages.sweep()
    messages.run_slice(portals_with_work[0])
    messages.sweep()
    assert sorted(received(inbox)) == sorted([*portals_with_work, portals_with_work[0]])


def test_a_lost_message_is_sent_again(inbox, portals_with_work):
    messages.sweep()
    a_minute_later = timedelta(minutes=1) - timedelta(seconds=settings.ENGINE_SWEEP_EVERY)
    Portal.objects.update(message_due_at=F("message_due_at") - a_minute_later)
    messages.sweep()
    assert len(received(inbox)) == 2 * len(portals_with_work)


def test_due_work_does_not_wait_for_a_later_message(portals_with_work):
    portal = portals_with_work[0]
    assert queue.claim_message(portal, 30)
    assert queue.claim_message(portal, 0)
    assert not queue.claim_message(portal, 30)
    assert queue.message_received(portal)
    assert queue.claim_message(portal, 30)


def test_an_early_message_keeps_the_later_one(portals_with_work):
    portal = portals_with_work[0]
    assert queue.claim_message(portal, 30)
    assert not queue.message_received(portal)
    assert not queue.claim_message(portal, 40)


def test_a_refused_message_is_released(portals_with_work, monkeypatch):
    monkeypatch.setattr(messages, "send", lambda *args: False)
    messages.enqueue(portals_with_work[0])
    assert queue.claim_message(portals_with_work[0], 0)


def test_unread_messages_expire(inbox):
    assert settings.CELERY_BEAT_SCHEDULE["sweep"]["options"]["expires"] == settings.ENGINE_MESSAGE_LIFE
    messages.send(messages.run_slice, 7)
    message = inbox.get(timeout=5)
    message.ack()
    expires = datetime.fromisoformat(message.headers["expires"])
    assert 0 < (expires - datetime.now(UTC)).total_seconds() <= settings.ENGINE_MESSAGE_LIFE
