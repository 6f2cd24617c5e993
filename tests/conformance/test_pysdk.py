"""The vendor's own Python library, unmodified, judges REST and the authorization server, through TLS."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import machine
from tests.conformance.tls import Authority, Front

pytestmark = pytest.mark.pysdk

SPEAKER = Path(__file__).parent / "speak_pysdk.py"
NOBODY = "f" * 70  # no token is like that


@pytest.fixture(scope="module")
def fronts(running_sandbox, tmp_path_factory):
    """TLS in front of acme and of the authorization server, and the authority to trust."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    context = authority.context()
    portal = Front(running_sandbox.portals["acme"], context)
    oauth = Front(running_sandbox.oauth, context)
    yield SimpleNamespace(portal=portal.host, oauth=oauth.host, authority=authority.path)
    portal.close()
    oauth.close()


@pytest.fixture
def judge(sandbox, fronts):
    """Bob, who owns 120 tasks, through the library: `judge.speak(*calls)` is what became of the calls."""
    bob = sandbox.user("acme", name="Bob", last_name="Worker")
    tasks = sandbox.tasks("acme", count=120, creator=bob)
    sandbox.install("acme")
    opening = sandbox.open("acme", bob)

    def speak(*calls, **changes):
        wish = {
            "portal": fronts.portal,
            "oauth": fronts.oauth,
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
            "access": opening["access"],
            "refresh": opening["refresh"],
            "calls": calls,
        } | changes
        run = subprocess.run(
            [machine.pysdk_python(), "-I", SPEAKER],
            input=json.dumps(wish),
            env=os.environ | {"REQUESTS_CA_BUNDLE": str(fronts.authority)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        return SimpleNamespace(**json.loads(run.stdout))

    return SimpleNamespace(speak=speak, bob=bob, tasks=tasks, opening=opening)


def test_it_calls_a_method(judge):
    said = judge.speak(["method", "profile"])
    assert said.answers[0]["result"]["ID"] == str(judge.bob)
    assert said.access == judge.opening["access"]


def test_it_refreshes_and_goes_on_with_the_new_pair(judge, sandbox):
    said = judge.speak(["refresh"], ["method", "profile"])
    assert said.answers[1]["result"]["ID"] == str(judge.bob)
    assert said.access != judge.opening["access"]
    assert sandbox.refresh(judge.opening["refresh"]).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(said.refresh).status_code == 200


def test_it_refreshes_by_itself_when_a_token_has_expired(judge, sandbox):
    sandbox.expire("acme", user=judge.bob)
    said = judge.speak(["method", "profile"])
    assert said.answers[0]["result"]["ID"] == str(judge.bob)
    assert said.access != judge.opening["access"]
    assert [row["code"] for row in sandbox.requests("acme")] == ["expired_token", ""]


def test_it_defers_in_a_batch_and_sees_each_commands_error(judge, sandbox):
    commands = {
        "first": ["tasks.task.defer", {"taskId": judge.tasks[0]}],
        "second": ["tasks.task.defer", {"taskId": judge.tasks[1]}],
        "gone": ["tasks.task.defer", {"taskId": 999_999}],
    }
    batch = judge.speak(["batch", commands]).answers[0]["result"]
    assert sorted(batch["result"]) == ["first", "second"]
    assert batch["result"]["first"]["task"]["status"] == "6"
    assert list(batch["result_error"]) == ["gone"]
    assert [sandbox.states("acme")[task] for task in judge.tasks[:3]] == [6, 6, 2]


def test_it_lists_more_tasks_than_a_page_holds(judge, sandbox):
    listed = judge.speak(["list", "tasks.task.list", {"select": ["ID"], "order": {"ID": "asc"}}]).answers[0]["result"]
    assert [int(task["id"]) for task in listed] == judge.tasks
    assert [row["method"] for row in sandbox.requests("acme")] == ["tasks.task.list", "batch"]


@pytest.mark.parametrize(
    "call, changes, name",
    [
        (["method", "profile"], {"access": NOBODY}, "BitrixAPIInvalidToken"),
        (["method", "no.such.method"], {}, "BitrixAPINotFound"),
    ],
)
def test_it_knows_the_errors_by_name(judge, call, changes, name):
    assert judge.speak(call, **changes).answers == [{"raised": name}]
