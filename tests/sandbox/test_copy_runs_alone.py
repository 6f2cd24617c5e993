"""The sandbox is a separate project: a copy of its folder runs without the app, under another name."""

import shutil
from pathlib import Path

from tests.sandbox_client import Sandbox

FOLDER = Path(__file__).parents[2] / "b24app" / "sandbox"


def test_a_copied_folder_serves_a_portal(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "pretend", ignore=shutil.ignore_patterns("__pycache__"))

    sandbox = Sandbox.start(tmp_path, package="pretend", cwd=tmp_path)
    try:
        ann = sandbox.user("acme", name="Ann", is_admin=True)
        task = sandbox.task("acme", creator=ann, status=2)
        sandbox.install("acme")
        answer = sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, sandbox.access("acme", ann))
        assert answer.json()["result"]["task"]["status"] == "6"
        assert "Who are you today?" in sandbox.session.get(sandbox.url("acme")).text
        assert sandbox.post(f"http://{sandbox.oauth}/oauth/token/").json()["error"] == "invalid_request"
    finally:
        sandbox.stop()
