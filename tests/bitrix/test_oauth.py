"""The authorization server: a refresh, what each refusal means, and whose token it is."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from b24app.bitrix import http, oauth
from b24app.bitrix.errors import AccessLost, CredentialRefused, NotInstalled, NotRun, Unknown
from b24app.bitrix.oauth import Registration
from tests.bitrix.conftest import raw_server

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
APP = Registration("app.1", "the-client-secret")


@pytest.fixture
def server(httpserver):
    return httpserver.url_for("").rstrip("/")


def refresh(egress, server, trace=None):
    return oauth.refresh(egress, server, APP, "the-refresh-token", NOW, trace or http.Trace())


def test_a_refresh_brings_a_new_pair(egress, server, answering):
    answering("oauth_refresh_ok")
    renewed = refresh(egress, server)
    assert renewed.pair.refresh == "3s6lr4kr3cv2od4v853gvrchb875bwxb"
    assert renewed.pair.expires_at == NOW + timedelta(hours=1)
    assert (renewed.member_id, renewed.user_id) == ("a223c6b3710f85df22e9377d6c4f7553", 5)


def test_expiry_and_user_are_optional(egress, server, answering):
    answering("oauth_code_ok")
    assert refresh(egress, server).user_id is None


@pytest.mark.parametrize("payload, status", [("oauth_refresh_ok", 200), ("oauth_invalid_grant", 400)])
def test_a_refresh_is_traced(egress, server, answering, httpserver, payload, status):
    answering(payload)
    trace = http.Trace()
    with contextlib.suppress(CredentialRefused):
        refresh(egress, server, trace)
    request, _ = httpserver.log[0]
    assert request.headers["X-Request-Id"] == str(trace.request_id)
    assert request.headers["Accept"] == "application/json"
    assert (trace.status, trace.request_id.version) == (status, 4)


def test_secrets_are_only_in_the_body(egress, server, answering, httpserver):
    answering("oauth_refresh_ok")
    refresh(egress, server)
    request, _ = httpserver.log[0]
    assert request.method == "POST"
    assert request.form["client_secret"] == "the-client-secret"
    assert "the-" not in request.url + str(request.headers)


@pytest.mark.parametrize(
    "payload, error",
    [
        ("oauth_invalid_grant", CredentialRefused),
        ("oauth_wrong_client", AccessLost),
        ("oauth_not_installed", NotInstalled),
        ("oauth_payment_required", AccessLost),
        ("portal_down", Unknown),
        ("moved", Unknown),
    ],
)
def test_each_refusal_becomes_its_error(egress, server, answering, payload, error):
    answering(payload)
    with pytest.raises(error) as raised:
        refresh(egress, server)
    assert "the-" not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize("status, body", [(200, ""), (200, "<html>"), (500, '{"error": "invalid_grant"}')])
def test_an_outage_is_no_refused_token(egress, server, answering, status, body):
    answering(status=status, body=body)
    with pytest.raises(Unknown):
        refresh(egress, server)


@pytest.mark.parametrize("code", ["temporarily_unavailable", "E_NEW", "x" * 5000])
def test_an_unknown_refusal_is_about_the_connection(egress, server, answering, code):
    answering(status=400, body={"error": code, "error_description": "something new"})
    with pytest.raises(NotRun) as refused:
        refresh(egress, server)
    assert refused.value.code == code[:100]


def test_an_unreachable_server_is_not_run(egress):
    with pytest.raises(NotRun):
        refresh(egress, "http://127.0.0.1:9")


def test_app_info_says_whose_token_it_is(egress, server, answering):
    answering("oauth_app_info")
    info = oauth.token_info(egress, server, "token", http.Trace())
    assert info.client_id == "app.573ad8a0346747.09223434"
    assert (info.member_id, info.user_id, info.installed) == ("a223c6b3710f85df22e9377d6c4f7553", 5, True)
    assert info.scope == {"task", "user_brief", "placement", "im"}


def test_a_garbled_app_info_proves_nothing(egress, server, answering):
    answering(body={"result": {"client_id": "app.1"}})
    with pytest.raises(Unknown):
        oauth.token_info(egress, server, "token", http.Trace())


def test_a_slow_token_answer_is_cut(egress, monkeypatch):
    monkeypatch.setattr(oauth, "TIMEOUT", 0.5)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with raw_server(head, drop=b" ") as host, pytest.raises(Unknown, match="Timeout"):
        refresh(egress, f"http://{host}")
