"""Calls and batches: each answer becomes an Answer or an error, and the journal gets each exchange."""

import json
import pickle

import pytest

from b24app.bitrix import http
from b24app.bitrix.client import Answer, Client, Command, encode_query, parse
from b24app.bitrix.errors import (
    AccessLost,
    CredentialRefused,
    Moved,
    NoSuchMethod,
    NotInstalled,
    NotRun,
    OperatingLimit,
    PersonBlocked,
    Refused,
    TokenExpired,
    TooManyRequests,
    Unknown,
    error_for,
)


@pytest.mark.parametrize(
    "payload, error",
    [
        ("rest_expired_token", TokenExpired),
        ("rest_invalid_token", TokenExpired),
        ("rest_no_auth_found", CredentialRefused),
        ("rest_insufficient_scope", AccessLost),
        ("rest_query_limit_exceeded", TooManyRequests),
        ("rest_operation_time_limit", OperatingLimit),
        ("rest_overload_limit", AccessLost),
        ("rest_application_not_found", NotInstalled),
        ("rest_payment_required", AccessLost),
        ("rest_user_access_error", PersonBlocked),
        ("rest_authorization_error", PersonBlocked),
        ("rest_portal_deleted", AccessLost),
        ("rest_1048582", Refused),
        ("rest_error_method_not_found", NoSuchMethod),
        ("error_with_200", Refused),
        ("moved", Moved),
        ("portal_down", Unknown),
        ("legacy_task_item_defer_refused", Refused),
    ],
)
def test_each_answer_becomes_its_error(client, answering, payload, error):
    answering(payload)
    with pytest.raises(error):
        client.call("tasks.task.list")


@pytest.mark.parametrize(
    "status, body",
    [
        (200, ""),
        (200, "<html>busy</html>"),
        (200, '{"result": {"tas'),
        (200, "[]"),
        (200, "{}"),
        (200, '{"result": ' + 2000 * "["),
        (200, '{"result": "\\ud83d"}'),  # half a character: a database cannot store it
        (500, '{"message": "oops"}'),
        (502, "<html>502</html>"),
        (403, "<html>forbidden</html>"),
    ],
)
def test_a_garbled_answer_is_unknown(client, answering, status, body):
    answering(status=status, body=body)
    with pytest.raises(Unknown):
        client.call("tasks.task.defer", {"taskId": 1})


def test_codes_are_compared_without_case():
    assert isinstance(error_for("EXPIRED_TOKEN"), TokenExpired)
    assert isinstance(error_for("query_limit_exceeded"), TooManyRequests)


def test_errors_can_be_pickled():
    for error in (OperatingLimit("X", "text", delay=7.0), Refused("1048582", "text")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.code, copy.__dict__) == (type(error), error.code, error.__dict__)


def test_the_token_is_only_in_the_body(client, httpserver, answering):
    answering("profile")
    client.call("profile")
    request, _ = httpserver.log[0]
    assert json.loads(request.data) == {"auth": "the-access-token"}
    assert "the-access-token" not in request.url + str(request.headers)
    assert "the-access-token" not in repr(client)


def test_a_redirect_is_not_followed(client, httpserver, answering):
    answering("moved")
    with pytest.raises(Moved) as moved:
        client.call("profile")
    assert moved.value.detail == "https://new-name.bitrix24.com/rest/tasks.task.list"
    assert len(httpserver.log) == 1


def batch(client):
    return client.batch([Command(f"d{n}", "tasks.task.defer", {"taskId": n}) for n in (31, 32, 33)])


def test_each_key_gets_its_own_answer(client, answering):
    answering("batch_partial")
    answers = batch(client)
    assert isinstance(answers["d31"], Answer)
    assert answers["d31"].operating.seconds == 0.33
    assert isinstance(answers["d32"], Refused)
    assert answers["d32"].code == "1048582"


def test_a_key_without_an_answer_is_unknown(client, answering):
    answering("batch_all_failed")
    answers = batch(client)
    assert isinstance(answers["d32"], Refused)
    assert isinstance(answers["d31"], Unknown)


@pytest.mark.parametrize("code", ["ACCESS_DENIED", "access_denied"])
def test_a_denied_task_says_nothing_about_the_app(client, answering, code):
    denied = {"error": code, "error_description": "Access denied"}
    answering(body={"result": {"result": {"d31": True, "d33": True}, "result_error": {"d32": denied}}})
    answers = batch(client)
    assert type(answers["d32"]) is Refused
    assert isinstance(answers["d33"], Answer)
    answering_outer = {"error": code, "error_description": "REST is available on commercial plans"}
    with pytest.raises(AccessLost):
        parse(http.Response(403, json.dumps(answering_outer).encode()))


def test_a_limited_command_did_not_run(client, answering):
    answering("batch_operating_limit_inside")
    assert isinstance(batch(client)["d31"], OperatingLimit)


def test_a_list_for_a_map_is_unknown(client, answering):
    answering("batch_numeric_keys_ok")
    assert all(isinstance(answer, Unknown) for answer in batch(client).values())


def test_a_batch_without_sections_is_lost(client, answering):
    answering(body={"result": []})
    with pytest.raises(Unknown):
        batch(client)


def test_a_method_may_answer_null(client, answering):
    answering("legacy_task_item_defer_ok")
    assert client.call("task.item.defer").result is None


def test_a_byte_order_mark_is_skipped(client, answering):
    answering(body='\ufeff{"result": true}')
    assert client.call("app.info").result is True


def test_a_batch_takes_fifty_commands(client):
    with pytest.raises(ValueError, match="51"):
        client.batch([Command(f"k{n}", "profile") for n in range(51)])


def test_nested_parameters_suit_php():
    params = {"filter": {"REAL_STATUS": [2, 3], "%TITLE": "a&b=c", "::SUBFILTER-1": {"::LOGIC": "OR"}}, "start": 0}
    assert encode_query(params) == (
        "filter[REAL_STATUS][0]=2&filter[REAL_STATUS][1]=3&filter[%25TITLE]=a%26b%3Dc"
        "&filter[%3A%3ASUBFILTER-1][%3A%3ALOGIC]=OR&start=0"
    )


def test_the_journal_gets_no_token(httpserver, egress, answering):
    answering("rest_1048582")
    exchanges = []
    client = Client(httpserver.url_for("/rest/"), "the-access-token", egress, after=exchanges.append)
    with pytest.raises(Refused):
        client.call("tasks.task.defer", {"taskId": 7})
    (exchange,) = exchanges
    assert (exchange.method, exchange.params, exchange.status) == ("tasks.task.defer", {"taskId": 7}, 400)
    assert exchange.code == "1048582"
    assert "the-access-token" not in repr(exchange)


def test_a_quoted_token_is_masked(httpserver, egress):
    token = "abcdefghij" * 7
    httpserver.expect_request("/rest/profile").respond_with_data(f"{token} " * 80, status=502)
    exchanges = []
    with pytest.raises(Unknown):
        Client(httpserver.url_for("/rest/"), token, egress, after=exchanges.append).call("profile")
    assert exchanges[0].outcome["body"] == "*** " * 80


def test_a_failed_check_sends_nothing(httpserver, egress):
    def refuse():
        raise NotRun("busy")

    client = Client(httpserver.url_for("/rest/"), "t" * 10, egress, before=refuse)
    with pytest.raises(NotRun):
        client.call("profile")
    assert httpserver.log == []


@pytest.fixture
def exchanges():
    return []


@pytest.fixture
def recorded(httpserver, egress, exchanges):
    return Client(httpserver.url_for("/rest/"), "the-access-token", egress, after=exchanges.append)


def test_every_exchange_has_its_own_id(recorded, answering, httpserver, exchanges):
    answering(body={"result": {}})
    recorded.call("profile")
    recorded.batch([Command("a1", "app.info")])
    sent = [request for request, _ in httpserver.log]
    assert [request.headers["X-Request-Id"] for request in sent] == [str(each.request_id) for each in exchanges]
    assert len({each.request_id for each in exchanges}) == 2
    assert not any("request" in request.url.lower() or b"X-Request" in request.data for request in sent)


def test_an_error_knows_its_exchange(recorded, answering, exchanges):
    answering("rest_1048582")
    with pytest.raises(Refused) as refused:
        recorded.call("tasks.task.defer", {"taskId": 31})
    assert refused.value.request_id == exchanges[0].request_id


def test_the_journal_keeps_operating_times(recorded, answering, exchanges):
    def spent(operating):
        return {"duration": 0.1, "operating": operating, "operating_reset_at": 1795500000}

    times = {"p1": spent(1.5), "d1": spent(2.5), "p2": spent(3.5), "d2": {"duration": 0.1}}
    answering(body={"result": {"result": dict.fromkeys(times, True), "result_error": [], "result_time": times}})
    acts = [("p1", "pause"), ("d1", "defer"), ("p2", "pause"), ("d2", "defer")]
    recorded.batch([Command(key, f"tasks.task.{act}", {"taskId": key[1]}) for key, act in acts])
    assert exchanges[0].outcome["operating"] == {
        "tasks.task.pause": [3.5, 1795500000.0],
        "tasks.task.defer": [2.5, 1795500000.0],
    }
