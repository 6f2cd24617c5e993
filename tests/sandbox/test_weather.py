"""Limits and faults of portals and of the authorization server."""

import pytest
import requests
from requests.adapters import HTTPAdapter

HTML = "<html><body>down</body></html>"


def error_of(answer):
    return answer.status_code, answer.json()["error"]


def profile(acme):
    return acme.sandbox.rest("acme", "profile", {}, acme.token)


def pending(acme, count):
    return acme.sandbox.tasks("acme", count=count, creator=acme.bob)


def defers(tasks):
    return {f"d{task}": f"tasks.task.defer?taskId={task}" for task in tasks}


def codes(answer):
    """The error codes of a batch, by key."""
    errors = answer.json()["result"]["result_error"] or {}
    return {key: error["error"] for key, error in errors.items()}


# -- Limits -----------------------------------------------------------------------------------------------


class From(HTTPAdapter):
    """A session that sends from another address of this machine."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs, source_address=(self.address, 0))


def test_each_address_has_its_own_bucket(acme):
    acme.sandbox.turn({"limits.bucket_size": 1, "limits.bucket_drain": 0.001})
    profile(acme)

    with requests.Session() as elsewhere:
        elsewhere.mount("http://", From("127.0.0.7"))
        answers = [elsewhere.post(acme.sandbox.url("acme", "rest/profile"), timeout=5) for _ in range(2)]

    assert error_of(profile(acme)) == (503, "QUERY_LIMIT_EXCEEDED")
    assert [error_of(answer) for answer in answers] == [(401, "NO_AUTH_FOUND"), (503, "QUERY_LIMIT_EXCEEDED")]


def test_an_enterprise_bucket_is_larger(acme):
    acme.sandbox.control("portal", portal="acme", license_family="ent")

    assert {profile(acme).status_code for _ in range(60)} == {200}


def test_a_clock_set_back_fills_no_bucket(acme):
    acme.sandbox.turn({"limits.bucket_size": 3})
    profile(acme)
    acme.sandbox.move_clock(-600)

    assert profile(acme).status_code == 200


def test_operating_time_expires_by_minutes(acme):
    acme.sandbox.turn({"cost.profile": 100, "cost.sleep": 0, "access_lifetime": 86400})
    acme.sandbox.move_clock("2031-01-01T12:00:00+00:00")
    acme.token = acme.sandbox.access("acme", acme.bob)
    spent = []
    for minute in (0, 4, 8, 11, 30):
        acme.sandbox.move_clock(f"2031-01-01T12:{minute:02}:30+00:00")
        spent.append(profile(acme).json()["time"]["operating"])

    assert spent == [100, 200, 300, 300, 100]


def test_an_answer_tells_the_reset_time(acme):
    acme.sandbox.turn({"cost.profile": 100, "cost.sleep": 0})
    acme.sandbox.move_clock("2031-01-01T12:00:30+00:00")
    acme.token = acme.sandbox.access("acme", acme.bob)

    assert profile(acme).json()["time"]["operating_reset_at"] == 1925035800  # 12:10:00


def test_the_operating_limit_is_480_seconds(acme):
    acme.sandbox.turn({"cost.profile": 481, "cost.sleep": 0})

    assert profile(acme).status_code == 200
    assert error_of(profile(acme)) == (429, "OPERATION_TIME_LIMIT")


def test_quick_calls_cost_nothing(acme):
    acme.sandbox.turn({"cost.profile": 0.01, "cost.sleep": 0})

    assert profile(acme).json()["time"]["operating"] == 0


def test_a_long_request_is_cut(acme):
    tasks = pending(acme, 4)
    acme.sandbox.turn({"limits.request_seconds": 2.0, "cost.tasks.task.defer": 1.5})

    answer = acme.sandbox.batch("acme", defers(tasks), acme.token)

    assert (answer.status_code, answer.headers["Content-Type"]) == (504, "text/html")
    assert answer.elapsed.total_seconds() < 2.8
    assert list(acme.sandbox.states("acme").values()) == [6, 6, 2, 2]


# -- Faults, one by one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, status",
    [
        ("expired_token", 401),
        ("invalid_token", 401),
        ("insufficient_scope", 401),
        ("APPLICATION_NOT_FOUND", 401),
        ("ERROR_OAUTH", 401),
        ("PAYMENT_REQUIRED", 401),
        ("authorization_error", 401),
        ("METHOD_CONFIRM_WAITING", 401),
        ("user_access_error", 403),
        ("ACCESS_DENIED", 403),
        ("PORTAL_DELETED", 403),
        ("OPERATION_TIME_LIMIT", 429),
        ("QUERY_LIMIT_EXCEEDED", 503),
        ("OVERLOAD_LIMIT", 503),
        ("INTERNAL_SERVER_ERROR", 500),
        ("WRONG_ENCODING", 200),
    ],
)
def test_a_code_has_its_usual_status(acme, code, status):
    acme.sandbox.fault("profile", "error", code=code, times=2)

    alone = profile(acme)
    inside = acme.sandbox.batch("acme", {"a": "profile", "b": "user.admin"}, acme.token)

    assert error_of(alone) == (status, code)
    assert alone.json()["error_description"]
    assert codes(inside) == {"a": code}
    assert inside.json()["result"]["result"] == {"b": False}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_page_can_replace_an_answer(acme, status):
    acme.sandbox.fault("batch", "respond", status=status, body=HTML)

    answer = acme.sandbox.batch("acme", {"a": "profile"}, acme.token)

    assert (answer.status_code, answer.text) == (status, HTML)


def test_a_done_batch_can_report_failure(acme):
    tasks = pending(acme, 2)
    acme.sandbox.fault("batch", "error_after", code="INTERNAL_SERVER_ERROR")

    answer = acme.sandbox.batch("acme", defers(tasks), acme.token)

    assert error_of(answer) == (500, "INTERNAL_SERVER_ERROR")
    assert set(acme.sandbox.states("acme").values()) == {6}


def test_a_done_command_can_report_failure(acme):
    first, second = pending(acme, 2)
    acme.sandbox.fault("tasks.task.defer", "error_after", code="INTERNAL_SERVER_ERROR", skip=1)

    answer = acme.sandbox.batch("acme", defers([first, second]), acme.token)

    assert codes(answer) == {f"d{second}": "INTERNAL_SERVER_ERROR"}
    assert acme.sandbox.states("acme") == {first: 6, second: 6}


def test_an_answer_can_be_empty_or_late(acme):
    acme.sandbox.fault("batch", "replace", status=200, body="")
    acme.sandbox.fault("user.admin", "late", seconds=0.3)

    assert acme.sandbox.batch("acme", {"a": "profile"}, acme.token).text == ""
    answer = acme.sandbox.batch("acme", {"a": "profile", "b": "user.admin"}, acme.token)
    assert answer.elapsed.total_seconds() >= 0.3


def test_a_done_command_can_cut_the_batch(acme):
    first, second = pending(acme, 2)
    acme.sandbox.fault("tasks.task.defer", "drop")

    with pytest.raises(requests.ConnectionError):
        acme.sandbox.batch("acme", defers([first, second]), acme.token)

    assert acme.sandbox.states("acme") == {first: 6, second: 2}


def test_a_probability_spares_some_calls(acme):
    acme.sandbox.fault("profile", "error", code="INTERNAL_SERVER_ERROR", times=-1, probability=0.5)
    acme.sandbox.settings(limits__bucket=False)

    statuses = {profile(acme).status_code for _ in range(40)}

    assert statuses == {200, 500}
    acme.sandbox.clear_faults()
    assert profile(acme).status_code == 200


def test_a_seed_spares_the_same_calls(acme):
    acme.sandbox.settings(limits__bucket=False)
    runs = []
    for seed in (7, 7, 8):
        acme.sandbox.clear_faults()
        acme.sandbox.fault("profile", "error", code="INTERNAL_SERVER_ERROR", times=-1, probability=0.5, seed=seed)
        runs.append([profile(acme).status_code for _ in range(20)])

    assert runs[0] == runs[1] != runs[2]


# -- Changes in the middle of a call ------------------------------------------------------------------------


def test_a_token_can_die_between_calls(acme):
    first, second = pending(acme, 2)
    acme.sandbox.fault("tasks.task.defer", "do", verb="revoke", given={"portal": "acme", "user": acme.bob})

    assert codes(acme.sandbox.batch("acme", defers([first]), acme.token)) == {}
    assert error_of(acme.sandbox.batch("acme", defers([second]), acme.token)) == (401, "invalid_token")


def test_an_uninstall_mid_batch_shows_later(acme):
    tasks = pending(acme, 2)
    acme.sandbox.fault("batch/*", "do", verb="uninstall", given={"portal": "acme"}, skip=1)

    assert codes(acme.sandbox.batch("acme", defers(tasks), acme.token)) == {}
    assert error_of(acme.sandbox.batch("acme", defers(tasks), acme.token)) == (401, "APPLICATION_NOT_FOUND")


def test_a_fault_can_rename_a_portal(acme):
    old, port = acme.sandbox.portals["acme"], acme.sandbox.portals["acme"].partition(":")[2]
    acme.sandbox.fault("profile", "do", verb="rename", given={"portal": "acme", "host": f"127.0.0.1:{port}"}, skip=1)

    assert profile(acme).status_code == 200
    answer = profile(acme)

    assert answer.status_code == 302
    assert answer.headers["Location"] == f"http://127.0.0.1:{port}/rest/profile"
    acme.sandbox.control("rename", portal="acme", host=old)


def test_an_unknown_verb_is_refused(acme):
    with pytest.raises(RuntimeError, match="explode"):
        acme.sandbox.fault("profile", "do", verb="explode")


# -- The authorization server -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, status, body",
    [
        ("invalid_grant", 400, {"error": "invalid_grant"}),
        ("wrong_client", 200, {"error": "wrong_client"}),
        ("invalid_client", 400, {"error": "invalid_client"}),
        ("NOT_INSTALLED", 401, {"error": "NOT_INSTALLED", "error_description": "Application not installed"}),
    ],
)
def test_a_fault_can_refuse_a_refresh(acme, code, status, body):
    spent = []
    for kind in ("error", "error_after"):
        refresh = acme.sandbox.open("acme", acme.bob)["refresh"]
        acme.sandbox.fault("oauth/token", kind, code=code)
        answer = acme.sandbox.refresh(refresh)
        assert (answer.status_code, answer.json()) == (status, body)
        spent.append(acme.sandbox.refresh(refresh).status_code == 400)

    assert spent == [False, True]


def test_an_uninstall_can_precede_a_refresh(acme):
    refresh = acme.sandbox.open("acme", acme.bob)["refresh"]
    acme.sandbox.fault("oauth/token", "do", verb="uninstall", given={"portal": "acme"})

    assert error_of(acme.sandbox.refresh(refresh)) == (401, "NOT_INSTALLED")


def test_app_info_can_fail(acme):
    acme.sandbox.fault("oauth/app.info", "respond", status=502, body=HTML)
    url = f"http://{acme.sandbox.oauth}/rest/app.info/"

    assert acme.sandbox.session.get(url, params={"auth": acme.token}).status_code == 502
    assert acme.sandbox.session.get(url, params={"auth": acme.token}).status_code == 200
