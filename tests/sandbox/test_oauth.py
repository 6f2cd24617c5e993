"""The authorization server: grants, chains, refusals, and an app's installation and removal."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from tests.sandbox_client import Sandbox


def error_of(answer):
    return answer.status_code, answer.json()["error"]


def test_a_refresh_kills_the_old_pair(acme):
    opening = acme.sandbox.open("acme", acme.bob)

    first = acme.sandbox.refresh(opening["refresh"]).json()
    second = acme.sandbox.refresh(first["refresh_token"]).json()

    assert acme.sandbox.rest("acme", "profile", {}, second["access_token"]).json()["result"]["NAME"] == "Bob"
    assert error_of(acme.sandbox.rest("acme", "profile", {}, opening["access"])) == (401, "invalid_token")
    assert error_of(acme.sandbox.refresh(opening["refresh"])) == (400, "invalid_grant")
    chain = [row for row in acme.sandbox.tokens("acme", user=acme.bob) if row["spent_at"]]
    assert len({row["chain"] for row in chain}) == 1


def test_chains_are_independent(acme):
    one, two = (acme.sandbox.open("acme", acme.bob) for _ in range(2))

    acme.sandbox.refresh(one["refresh"])

    assert acme.sandbox.rest("acme", "profile", {}, two["access"]).status_code == 200
    assert acme.sandbox.refresh(two["refresh"]).status_code == 200


def test_one_of_ten_refreshes_wins(acme):
    refresh = acme.sandbox.open("acme", acme.bob)["refresh"]
    fields = {
        "grant_type": "refresh_token",
        "client_id": acme.sandbox.client_id,
        "client_secret": acme.sandbox.client_secret,
        "refresh_token": refresh,
    }

    def exchange(_):
        return requests.post(f"http://{acme.sandbox.oauth}/oauth/token/", data=fields, timeout=20).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(exchange, range(10)))

    assert sorted(statuses) == [200] + [400] * 9


def test_the_token_endpoint_takes_get(acme):
    fields = {
        "grant_type": "refresh_token",
        "client_id": acme.sandbox.client_id,
        "client_secret": acme.sandbox.client_secret,
        "refresh_token": acme.sandbox.open("acme", acme.bob)["refresh"],
    }

    answer = acme.sandbox.session.get(f"http://{acme.sandbox.oauth}/oauth/token/", params=fields)

    assert answer.json()["user_id"] == acme.bob


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"client_id": "app.nobody"}, (200, {"error": "wrong_client"})),
        ({"client_secret": "wrong"}, (400, {"error": "invalid_client"})),
        ({"refresh_token": "0" * 70}, (400, {"error": "invalid_grant"})),
        (
            {"refresh_token": None},
            (400, {"error": "invalid_request", "error_description": 'No "refresh_token" parameter found'}),
        ),
        ({"grant_type": "password"}, (400, None)),
        ({"scope": "task,crm"}, (403, {"error": "invalid_scope"})),
    ],
)
def test_a_grant_is_refused(acme, changes, expected):
    fields = {"refresh_token": acme.sandbox.open("acme", acme.bob)["refresh"]} | changes

    answer = acme.sandbox.refresh(**fields)

    status, body = expected
    assert answer.status_code == status
    assert answer.json() == (body or answer.json())
    assert "access_token" not in answer.json()


def test_an_expired_refresh_is_refused(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.expire("acme", user=acme.bob, refresh=True)

    assert error_of(acme.sandbox.refresh(opening["refresh"])) == (400, "invalid_grant")


def test_a_revoked_chain_is_dead(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.revoke("acme", user=acme.bob)

    assert error_of(acme.sandbox.rest("acme", "profile", {}, opening["access"])) == (401, "invalid_token")
    assert error_of(acme.sandbox.refresh(opening["refresh"])) == (400, "invalid_grant")


def test_a_code_works_once(acme):
    fields = {
        "grant_type": "authorization_code",
        "code": acme.sandbox.control("code", portal="acme", user=acme.bob),
        "refresh_token": None,
    }

    first, second = (acme.sandbox.refresh(**{"refresh_token": None, **fields}) for _ in range(2))

    access = first.json()["access_token"]
    assert acme.sandbox.rest("acme", "profile", {}, access).json()["result"]["NAME"] == "Bob"
    assert error_of(second) == (400, "invalid_grant")


def app_info(sandbox: Sandbox, token: str):
    return sandbox.session.get(f"http://{sandbox.oauth}/rest/app.info/", params={"auth": token})


def test_app_info_describes_a_token(acme):
    answer = app_info(acme.sandbox, acme.token).json()["result"]

    assert answer["user_id"] == acme.bob
    assert answer["client_id"] == acme.sandbox.client_id
    assert answer["install"]["domain"] == acme.sandbox.portals["acme"]
    assert answer["install"]["installed"] is True


def test_app_info_refuses_bad_tokens(acme):
    assert error_of(app_info(acme.sandbox, "0" * 70)) == (400, "invalid_client")
    acme.sandbox.expire("acme", user=acme.bob)
    assert error_of(app_info(acme.sandbox, acme.token)) == (401, "expired_token")
    acme.sandbox.uninstall("acme")
    assert error_of(app_info(acme.sandbox, acme.token)) == (401, "NOT_INSTALLED")


def test_the_server_has_no_other_methods(sandbox):
    answer = sandbox.post(f"http://{sandbox.oauth}/rest/profile")

    assert error_of(answer) == (404, "ERROR_METHOD_NOT_FOUND")


def test_an_exchange_can_lose_its_answer(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.fault("oauth/token", "drop")

    with pytest.raises(requests.ConnectionError):
        acme.sandbox.refresh(opening["refresh"])

    assert error_of(acme.sandbox.refresh(opening["refresh"])) == (400, "invalid_grant")


def test_the_server_can_be_slow_or_down(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.fault("oauth/token", "respond", status=503, body="<html>503</html>")
    assert acme.sandbox.refresh(opening["refresh"]).status_code == 503

    acme.sandbox.fault("oauth/token", "delay", seconds=0.3)
    started = time.monotonic()
    assert acme.sandbox.refresh(opening["refresh"]).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_an_unfinished_app_opens_the_setup(acme):
    acme.sandbox.install("acme", finished=False)

    before = acme.sandbox.open("acme", acme.ann)["url"]
    acme.sandbox.control("finish", portal="acme")
    after = acme.sandbox.open("acme", acme.ann)["url"]

    assert urlsplit(before).path == "/install/"
    assert urlsplit(after).path == "/"


def test_a_reinstall_keeps_the_app_token(acme):
    acme.sandbox.uninstall("acme")

    assert acme.sandbox.install("acme")["application_token"] == acme.application_token


def test_an_uninstall_removes_bindings(acme):
    bind = {"event": "ONAPPUNINSTALL", "handler": "http://127.0.0.1:8000/events/"}
    acme.sandbox.rest("acme", "event.bind", bind, acme.admin_token)

    acme.sandbox.settings(events__never=True)
    acme.sandbox.uninstall("acme")
    acme.sandbox.install("acme")

    assert acme.sandbox.control("installation", portal="acme")["events"] == []
