"""Starting the sandbox: its messages and its demo data."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.sandbox_client import Sandbox, free_ports


def test_a_busy_port_is_reported(tmp_path):
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


def test_the_demo_has_240_tasks(demo):
    demo.install("acme")
    params = {"filter": {"REAL_STATUS": 3, "MEMBER": 5}, "select": ["ID"]}

    answer = demo.rest("acme", "tasks.task.list", params, demo.access("acme", 5))

    assert len(demo.states("acme")) == 240
    assert answer.json()["total"] == 130


def test_the_demo_has_each_kind_of_portal(demo):
    def look(portal):
        demo.install(portal)
        opening = demo.open(portal, 1)
        said = demo.rest(portal, "method.get", {"name": "tasks.task.defer"}, opening["access"]).json()
        return "APPLICATION_TOKEN" in opening["fields"], "operating" in said["time"], said["result"]["isExisting"]

    assert look("acme") == (True, True, True)
    assert look("umbrella") == (True, False, True)  # a box
    assert look("oldbox") == (False, False, False)


def test_an_outdated_database_is_deleted(tmp_path):
    with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as connection:
        connection.execute("CREATE TABLE sandbox_portal (old)")
        connection.execute("PRAGMA user_version = 7")

    sandbox = Sandbox.start(tmp_path)
    try:
        assert sandbox.control("portals")[0]["key"] == "acme"
    finally:
        sandbox.stop()
    assert "data of its portals is deleted" in sandbox.log.read_text()
