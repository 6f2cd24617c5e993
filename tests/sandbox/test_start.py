"""Starting the sandbox: what it says, what it fills in."""

import socket
import subprocess
import sys

import pytest

from tests.sandbox_client import Sandbox, free_ports

pytestmark = pytest.mark.xdist_group("demo")


def test_a_busy_port_is_told_in_a_sentence(tmp_path):
    portal_port, oauth_port = free_ports(2)
    words = [
        f"--portals=acme=localhost:{portal_port}",
        f"--oauth=localhost:{oauth_port}",
        f"--database={tmp_path / 'x'}",
    ]

    with socket.create_server(("127.0.0.1", oauth_port)):
        run = subprocess.run(
            [sys.executable, "-m", "b24app.sandbox", *words], capture_output=True, text=True, timeout=20
        )

    assert run.returncode == 1
    assert run.stderr.startswith(f"Port {oauth_port} is busy")
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    sandbox = Sandbox.start(directory, portals=("acme", "umbrella", "oldbox"), seed="demo")
    yield sandbox
    sandbox.stop()


def test_the_demo_has_240_tasks_of_which_130_are_in_progress_for_its_person(demo):
    demo.install("acme")
    params = {"filter": {"REAL_STATUS": 3, "MEMBER": 5}, "select": ["ID"]}

    answer = demo.rest("acme", "tasks.task.list", params, demo.access("acme", 5))

    assert len(demo.states("acme")) == 240
    assert answer.json()["total"] == 130


def test_the_third_portal_of_the_demo_is_an_old_box(demo):
    for portal in ("umbrella", "oldbox"):
        demo.install(portal)

    assert "APPLICATION_TOKEN" in demo.open("umbrella", 1)["fields"]
    assert "APPLICATION_TOKEN" not in demo.open("oldbox", 1)["fields"]
