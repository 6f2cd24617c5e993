"""check_worker notices a worker that runs but reads no messages, also if other workers do."""

import subprocess
import sys

import pytest
import requests

from tests.conftest import SERVERS
from tests.environment import ROOT
from tests.processes import wait_until

STOP_READING = """
from celery.utils.nodenames import worker_direct
from b24app.celery import app
for queue in ("celery", worker_direct({worker!r}).name):
    app.control.cancel_consumer(queue, destination=[{worker!r}])
"""


def checked(app, *words):
    """Whether check_worker succeeds, and its output."""
    command = [sys.executable, "manage.py", "check_worker", *words]
    done = subprocess.run(command, cwd=ROOT, env=app.environment, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def is_ready(app):
    return requests.get(f"{app.url}/readyz", timeout=5).status_code == 200


def test_each_worker_has_a_heartbeat(app):
    assert not checked(app, "w1@test")[0]
    app.start("web", "beat")
    app.start_all(w1="worker", w2="worker")
    for worker in ("w1@test", "w2@test"):
        wait_until(lambda worker=worker: checked(app, worker)[0], what=f"{worker} to read something", pause=0.5)
    wait_until(lambda: is_ready(app), what="the first sweep")


# A worker of the embedded broker cannot be told to stop reading.
@pytest.mark.parametrize(
    "stack", [pytest.param(SERVERS, marks=[pytest.mark.postgres, pytest.mark.redis])], indirect=True
)
def test_the_silent_worker_of_two_is_named(app):
    app.start("web", "beat")
    app.start_all(w1="worker", w2="worker")
    for worker in ("w1@test", "w2@test"):
        wait_until(lambda worker=worker: checked(app, worker)[0], what=f"{worker} to read something", pause=0.5)
    app.python(STOP_READING.format(worker="w2@test"))
    wait_until(lambda: not checked(app, "w2@test")[0], what="check_worker to fail for w2", pause=0.5)
    assert "has read no message for" in checked(app, "w2@test")[1]
    assert checked(app, "w1@test")[0]
    assert is_ready(app)
    app.kill("w1")
    wait_until(lambda: not is_ready(app), what="the app to be not ready")
