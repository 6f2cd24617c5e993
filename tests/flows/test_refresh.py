"""Concurrent use of single-use refresh tokens: real processes, a real database, a slow authorization server."""

import json

import pytest

from tests.processes import wait_until

OPEN = """
import json, sys
from b24app.portals import openings
from b24app.bitrix.client import Command
from b24app.bitrix.payloads import read_opening
opening = json.loads({opening!r})
openings.open_page(read_opening(opening["query"], opening["fields"]), Command("a", "user.admin"), timeout=10)
"""
ASK = """
from b24app.portals import credentials
from b24app.bitrix.errors import BitrixError
from b24app.models import Person
person = Person.objects.select_related("portal").get()
print("ready", flush=True)
input()
try:
    credential, _ = credentials.usable(person, patience={patience})
    print("pair", credential.version)
except BitrixError as error:
    print(type(error).__name__, error.code)
"""


@pytest.fixture
def bob(sandbox, app):
    """An employee of acme who has opened the app once."""
    app.settings["TIME_SCALE"] = "1"  # no waits are scaled, so a claim lasts as long as in production
    number = sandbox.user("acme", name="Bob")
    sandbox.install("acme")
    app.python(OPEN.format(opening=json.dumps(sandbox.open("acme", number))))
    return number


def ask_at_once(app, count, patience=2.0):
    """The results of `count` processes that ask for a usable credential at the same time."""
    processes = [app.launch_python(ASK.format(patience=patience)) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def results(processes):
    return sorted(process.communicate(timeout=30)[0].strip() for process in processes)


def expire(app):
    app.python("""
from b24app import clock
from b24app.models import Credential
Credential.objects.update(expires_at=clock.now())
""")


def refreshes(sandbox):
    return [request["code"] for request in sandbox.requests(None) if request["method"] == "oauth/token"]


def test_ten_processes_refresh_once(sandbox, app, bob):
    expire(app)
    sandbox.fault("oauth/token", "delay", seconds=1.0)
    assert results(ask_at_once(app, 10, patience=5.0)) == ["pair 2"] * 10
    assert refreshes(sandbox) == [""]


def test_a_page_stops_waiting_for_a_refresh(sandbox, app, bob):
    expire(app)
    sandbox.fault("oauth/token", "delay", seconds=2.0)
    answers = results(ask_at_once(app, 10, patience=0.5))
    assert answers == ["NotRun refreshing"] * 9 + ["pair 2"]
    assert refreshes(sandbox) == [""]


def test_an_opening_during_a_refresh_wins(sandbox, app, bob):
    expire(app)
    sandbox.fault("oauth/token", "delay", seconds=4.0)
    opening = OPEN.format(opening=json.dumps(sandbox.open("acme", bob)))
    opener = app.launch_python(f"print('ready', flush=True)\ninput()\n{opening}")
    assert opener.stdout.readline() == "ready\n"
    processes = ask_at_once(app, 3, patience=9.0)
    wait_until(lambda: refreshes(sandbox), what="the refresh to begin")
    _, errors = opener.communicate("\n", timeout=30)
    assert opener.returncode == 0, errors
    assert results(processes) == ["pair 2"] * 3
    assert refreshes(sandbox) == [""]


def test_an_opening_replaces_a_lost_pair(sandbox, app, bob):
    expire(app)
    sandbox.fault("oauth/token", "late", seconds=2.0)
    (winner,) = ask_at_once(app, 1)
    wait_until(lambda: any(token["spent_at"] for token in sandbox.tokens("acme")), what="the old pair to be spent")
    winner.kill()
    winner.communicate()
    assert refreshes(sandbox) == [""]
    app.python(OPEN.format(opening=json.dumps(sandbox.open("acme", bob))))
    assert results(ask_at_once(app, 5, patience=5.0)) == ["pair 2"] * 5
    assert refreshes(sandbox) == [""]


def test_a_lost_pair_is_tried_once(sandbox, app, bob):
    expire(app)
    sandbox.fault("oauth/token", "drop")
    (winner,) = ask_at_once(app, 1)
    assert results([winner]) == ["NotRun ConnectionError"]
    assert results(ask_at_once(app, 1)) == ["CredentialRefused invalid_grant"]
    assert results(ask_at_once(app, 4)) == ["CredentialRefused needs_reopen"] * 4
    assert refreshes(sandbox) == ["", "invalid_grant"]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_oauth_outage_breaks_nothing(sandbox, app, bob, status):
    expire(app)
    sandbox.fault("oauth/token", "respond", status=status, body="<html>down</html>", type="text/html")
    assert results(ask_at_once(app, 1)) == [f"NotRun not_json_{status}"]
    assert results(ask_at_once(app, 1)) == ["pair 2"]
