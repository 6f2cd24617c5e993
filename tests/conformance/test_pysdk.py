"""The vendor's unmodified Python library calls REST and the authorization server through TLS."""

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
UNKNOWN_TOKEN = "f" * 70  # the portal never issued this token


@pytest.fixture(scope="module")
def fronts(running_sandbox, tmp_path_factory):
    """TLS proxies for acme and the authorization server, and the certificate authority to trust."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    context = authority.context()
    portal = Front(running_sandbox.portals["acme"], context)
    oauth = Front(running_sandbox.oauth, context)
    yield SimpleNamespace(portal=portal.host, oauth=oauth.host, authority=authority.path)
    portal.close()
    oauth.close()


@pytest.fixture
def library(sandbox, fronts):
    """Bob, who owns 120 tasks, through the library: `library.speak(*calls)` returns the results."""
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


def test_it_calls_a_method(library):
    said = library.speak(["method", "profile"])
    assert said.answers[0]["result"]["ID"] == str(library.bob)
    assert said.access == library.opening["access"]


def test_it_continues_with_the_new_pair(library, sandbox):
    said = library.speak(["refresh"], ["method", "profile"])
    assert said.answers[1]["result"]["ID"] == str(library.bob)
    assert said.access != library.opening["access"]
    assert sandbox.refresh(library.opening["refresh"]).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(said.refresh).status_code == 200


def test_it_renews_an_expired_token(library, sandbox):
    sandbox.expire("acme", user=library.bob)
    said = library.speak(["method", "profile"])
    assert said.answers[0]["result"]["ID"] == str(library.bob)
    assert said.access != library.opening["access"]
    assert [row["code"] for row in sandbox.requests("acme")] == ["expired_token", ""]


def test_a_batch_shows_each_error(library, sandbox):
    commands = {
        "first": ["tasks.task.defer", {"taskId": library.tasks[0]}],
        "second": ["tasks.task.defer", {"taskId": library.tasks[1]}],
        "gone": ["tasks.task.defer", {"taskId": 999_999}],
    }
    batch = library.speak(["batch", commands]).answers[0]["result"]
    assert sorted(batch["result"]) == ["first", "second"]
    assert batch["result"]["first"]["task"]["status"] == "6"
    assert list(batch["result_error"]) == ["gone"]
    assert [sandbox.states("acme")[task] for task in library.tasks[:3]] == [6, 6, 2]


def test_it_lists_several_pages(library, sandbox):
    listed = library.speak(["list", "tasks.task.list", {"select": ["ID"], "order": {"ID": "asc"}}]).answers[0]["result"]
    assert [int(task["id"]) for task in listed] == library.tasks
    assert [row["method"] for row in sandbox.requests("acme")] == ["tasks.task.list", "batch"]


@pytest.mark.parametrize(
    "call, changes, name",
    [
        (["method", "profile"], {"access": UNKNOWN_TOKEN}, "BitrixAPIInvalidToken"),
        (["method", "no.such.method"], {}, "BitrixAPINotFound"),
    ],
)
def test_it_knows_the_errors_by_name(library, call, changes, name):
    assert library.speak(call, **changes).answers == [{"raised": name}]
