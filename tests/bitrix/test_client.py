import contextlib
import json
import pickle
import socket
import threading
import time

import pytest

from b24app.bitrix import http, tasks
from b24app.bitrix.client import Answer, Client, Command, encode_query
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
    Unreachable,
    error_for,
)
from tests.bitrix.conftest import PAYLOADS


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
def test_each_answer_becomes_what_the_caller_does_next(client, answering, payload, error):
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
        (200, '{"result": "\\ud83d"}'),  # half a character: no database would keep it
        (500, '{"message": "oops"}'),
        (502, "<html>502</html>"),
        (403, "<html>forbidden</html>"),
    ],
)
def test_an_answer_that_cannot_be_read_may_have_been_an_effect(client, answering, status, body):
    answering(status=status, body=body)
    with pytest.raises(Unknown):
        client.call("tasks.task.defer", {"taskId": 1})


def test_codes_are_compared_without_case():
    assert isinstance(error_for("EXPIRED_TOKEN"), TokenExpired)
    assert isinstance(error_for("query_limit_exceeded"), TooManyRequests)


def test_errors_survive_the_way_through_a_worker():
    for error in (OperatingLimit("X", "text", delay=7.0), Refused("1048582", "text")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.code, copy.__dict__) == (type(error), error.code, error.__dict__)


def test_the_token_travels_in_the_body_and_nowhere_else(client, httpserver, answering):
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


def test_a_refused_connection_ran_nothing(egress):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}/rest/", "t" * 10, egress, timeout=1.0)
    with pytest.raises(NotRun):
        client.call("profile")


def test_a_request_that_would_leave_too_late_is_not_sent(client, httpserver, answering, monkeypatch):
    answering("profile")
    resolve = socket.getaddrinfo

    def slowly(*args, **kwargs):
        time.sleep(0.05)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    monkeypatch.setattr(http, "LATEST_START", 0.01)
    with pytest.raises(Unreachable):
        client.call("profile")
    assert httpserver.log == []


def test_a_connection_that_speaks_no_tls_ran_nothing(egress):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def babble():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        client = Client(f"https://127.0.0.1:{server.getsockname()[1]}/rest/", "t" * 10, egress, timeout=1.0)
        with pytest.raises(Unreachable):
            client.call("tasks.task.defer", {"taskId": 1})
        thread.join(5)


def test_a_connection_that_breaks_after_the_request_may_have_been_an_effect(egress):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def cut():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=cut, daemon=True)
        thread.start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}/rest/", "t" * 10, egress, timeout=1.0)
        with pytest.raises(Unknown):
            client.call("tasks.task.defer", {"taskId": 1})
        thread.join(5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
OPEN_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("head, drop", [(HEAD, b" " * 70_000), (HEAD, b" "), (OPEN_HEAD, b" "), (b"HTTP/1.1 ", b"2")])
def test_a_slow_drip_ends_at_the_deadline(egress, head, drop):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def drip():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(head)
            with contextlib.suppress(OSError):
                while not stop.wait(0.1):
                    connection.sendall(drop)
            connection.close()

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}/rest/", "t" * 10, egress, timeout=0.5)
        started = time.monotonic()
        with pytest.raises(Unknown, match="timeout"):
            client.call("profile")
        assert time.monotonic() - started < 2
        stop.set()
        thread.join(5)


def test_an_answer_without_end_is_cut(client, answering, monkeypatch):
    monkeypatch.setattr(http, "BODY_LIMIT", 1000)
    answering(body='{"result": "' + "x" * 2000 + '"}')
    with pytest.raises(Unknown):
        client.call("profile")


# -- batch


def batch(client):
    return client.batch([Command(f"d{n}", "tasks.task.defer", {"taskId": n}) for n in (31, 32, 33)])


def test_every_key_of_a_batch_gets_its_own_answer(client, answering):
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


def test_a_limit_inside_a_batch_says_that_the_command_did_not_run(client, answering):
    answering("batch_operating_limit_inside")
    assert isinstance(batch(client)["d31"], OperatingLimit)


def test_lists_where_maps_were_expected_lose_nothing(client, answering):
    answering("batch_numeric_keys_ok")
    assert all(isinstance(answer, Unknown) for answer in batch(client).values())


def test_a_batch_without_its_sections_is_unknown(client, answering):
    answering(body={"result": []})
    with pytest.raises(Unknown):
        batch(client)


def test_a_method_may_answer_null(client, answering):
    answering("legacy_task_item_defer_ok")
    assert client.call("task.item.defer").result is None


def test_a_mark_ahead_of_an_answer_is_passed_over(client, answering):
    answering(body='\ufeff{"result": true}')
    assert client.call("app.info").result is True


def test_more_than_fifty_commands_are_refused_before_anything_is_sent(client):
    with pytest.raises(ValueError, match="51"):
        client.batch([Command(f"k{n}", "profile") for n in range(51)])


def test_nested_parameters_are_written_as_php_reads_them():
    params = {"filter": {"REAL_STATUS": [2, 3], "%TITLE": "a&b=c", "::SUBFILTER-1": {"::LOGIC": "OR"}}, "start": 0}
    assert encode_query(params) == (
        "filter[REAL_STATUS][0]=2&filter[REAL_STATUS][1]=3&filter[%25TITLE]=a%26b%3Dc"
        "&filter[%3A%3ASUBFILTER-1][%3A%3ALOGIC]=OR&start=0"
    )


# -- hooks


def test_the_journal_gets_every_exchange_without_the_token(httpserver, egress, answering):
    answering("rest_1048582")
    exchanges = []
    client = Client(httpserver.url_for("/rest/"), "the-access-token", egress, after=exchanges.append)
    with pytest.raises(Refused):
        client.call("tasks.task.defer", {"taskId": 7})
    (exchange,) = exchanges
    assert (exchange.method, exchange.params, exchange.status) == ("tasks.task.defer", {"taskId": 7}, 400)
    assert exchange.code == "1048582"
    assert "the-access-token" not in repr(exchange)


def test_the_journal_gets_no_part_of_a_token_that_an_error_quotes_over_and_over(httpserver, egress):
    token = "abcdefghij" * 7
    httpserver.expect_request("/rest/profile").respond_with_data(f"{token} " * 80, status=502)
    exchanges = []
    with pytest.raises(Unknown):
        Client(httpserver.url_for("/rest/"), token, egress, after=exchanges.append).call("profile")
    assert exchanges[0].outcome["body"] == "*** " * 80


def test_nothing_is_sent_when_the_check_before_refuses(httpserver, egress):
    def refuse():
        raise NotRun("busy")

    client = Client(httpserver.url_for("/rest/"), "t" * 10, egress, before=refuse)
    with pytest.raises(NotRun):
        client.call("profile")
    assert httpserver.log == []


# -- where we may connect


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"),
    ],
)
def test_addresses_inside_a_network_are_not_connected_to(address):
    assert not http.Egress().admits(address)


def test_an_operators_own_network_is_reached_when_named():
    egress = http.Egress.parse(["10.1.0.0/16"], local=False)
    assert egress.admits("10.1.2.3")
    assert not egress.admits("10.2.0.1")
    assert egress.admits("93.184.216.34")


@pytest.mark.parametrize(
    "url",
    ["http://acme.bitrix24.com/rest/", "https://a@acme.bitrix24.com/", "ftp://acme.bitrix24.com/", "https:///rest/"],
)
def test_only_plain_https_addresses_are_called(url):
    assert not http.Egress().admits_url(url)


def test_a_name_that_points_inside_is_not_connected_to():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        client = Client(f"https://localhost:{port}/rest/", "t" * 10, http.Egress(), timeout=1.0)
        with pytest.raises(NotRun):
            client.call("profile")
        with pytest.raises(TimeoutError):
            server.accept()


# -- tasks


def test_a_list_page_is_read_with_all_its_traps(client, answering):
    answering("tasks_task_list_page")
    page = tasks.page_of(client.call("tasks.task.list"))
    assert page.total == 51
    first, second = page.tasks
    assert (first.id, first.title, first.status, first.project) == (31, "Call the supplier", 2, "Purchasing")
    assert first.deadline.isoformat() == "2026-10-01T19:00:00+02:00"
    assert (second.status, second.project, second.responsible) == (3, "", "Bob Worker")


def test_a_list_that_is_no_list_is_unknown_and_not_empty(client, answering):
    answering("tasks_task_get_unreadable")
    with pytest.raises(Unknown):
        tasks.read_states(client, [31])


def test_rights_are_read_from_the_one_user_inside(client, answering, httpserver):
    inside = PAYLOADS["getaccess"]
    answering(body={"result": {"result": {"a31": inside["body"]["result"]}, "result_error": []}})
    assert tasks.read_access(client, [31]) == {31: frozenset({"PAUSE", "COMPLETE", "EDIT"})}


def test_no_access_at_all_is_an_empty_list_on_the_wire(client, answering):
    answering(body={"result": {"result": {"a31": {"allowedActions": []}}, "result_error": []}})
    assert tasks.read_access(client, [31]) == {31: frozenset()}


# -- Each exchange can be found again


@pytest.fixture
def exchanges():
    return []


@pytest.fixture
def recorded(httpserver, egress, exchanges):
    return Client(httpserver.url_for("/rest/"), "the-access-token", egress, after=exchanges.append)


def test_every_exchange_goes_under_an_id_of_its_own_in_a_header(recorded, answering, httpserver, exchanges):
    answering(body={"result": {}})
    recorded.call("profile")
    recorded.batch([Command("a1", "app.info")])
    sent = [request for request, _ in httpserver.log]
    assert [request.headers["X-Request-Id"] for request in sent] == [str(each.request_id) for each in exchanges]
    assert len({each.request_id for each in exchanges}) == 2
    assert not any("request" in request.url.lower() or b"X-Request" in request.data for request in sent)


def test_an_error_knows_the_exchange_that_it_came_from(recorded, answering, exchanges):
    answering("rest_1048582")
    with pytest.raises(Refused) as refused:
        recorded.call("tasks.task.defer", {"taskId": 31})
    assert refused.value.request_id == exchanges[0].request_id


def test_the_journal_keeps_the_operating_time_that_a_batch_told_last_of_each_method(recorded, answering, exchanges):
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


# -- One task that cannot be read


def listed(*rows):
    return {"result": {"tasks": list(rows)}}


READABLE, GARBLED = {"id": "31", "status": "3"}, {"id": "32", "status": "asleep"}


def test_a_row_that_cannot_be_read_is_neither_the_others_nor_gone(client, answering):
    answering(body=listed(READABLE, GARBLED))
    found = tasks.read_states(client, [31, 32, 33])
    assert (found[31].status, found[32]) == (3, tasks.UNREADABLE)
    assert 33 not in found


@pytest.mark.parametrize("row", [{"status": "3"}, {"id": [], "status": "3"}, "oops", None])
def test_a_row_without_a_number_may_be_any_task_that_is_missing(client, answering, row):
    answering(body=listed(READABLE, row))
    found = tasks.read_states(client, [31, 32, 33])
    assert (found[31].status, found[32], found[33]) == (3, tasks.UNREADABLE, tasks.UNREADABLE)


def test_what_may_be_done_with_a_task_whose_answer_was_lost_is_not_known(client, answering):
    allowed = {"allowedActions": {"5": {"PAUSE": True, "EDIT": True}}}
    lost = {"a32": {"error": "INTERNAL_SERVER_ERROR", "error_description": ""}}
    answering(body={"result": {"result": {"a31": allowed}, "result_error": lost}})
    assert tasks.read_access(client, [31, 32, 33]) == {31: frozenset({"PAUSE", "EDIT"})}
