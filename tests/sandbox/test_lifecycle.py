"""The life of an installation at a portal: events, updates, payment, uninstall, a new address, the modes."""

import re
import time
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.processes import wait_until

HANDLER = "http://127.0.0.1:8000/handler/"


def call(acme, method, params=None, token=None):
    return acme.sandbox.rest("acme", method, params, token or acme.token)


def error_of(answer):
    return answer.status_code, answer.json()["error"]


def bind(acme, event, url, **more):
    answer = call(acme, "event.bind", {"event": event, "handler": url, **more}, acme.sandbox.access("acme", acme.ann))
    assert answer.json().get("result") is True


def installation(acme):
    return acme.sandbox.control("installation", portal="acme")


# -- Events -----------------------------------------------------------------------------------------------


def test_task_events_carry_only_the_number(acme, mailbox):
    for event in ("ONTASKADD", "ONTASKUPDATE", "ONTASKDELETE"):
        bind(acme, event, mailbox.url)

    task = acme.sandbox.task("acme", creator=acme.bob)
    added = mailbox.read()
    call(acme, "tasks.task.defer", {"taskId": task})
    changed = mailbox.read()
    acme.sandbox.change_task("acme", task, delete=True)
    deleted = mailbox.read()

    before, after = "data[FIELDS_BEFORE]", "data[FIELDS_AFTER]"
    assert (added["event"], added[before], added[f"{after}[ID]"]) == ("ONTASKADD", "undefined", str(task))
    assert (changed[f"{before}[ID]"], changed[f"{after}[ID]"]) == (str(task), str(task))
    assert (deleted["event"], deleted[f"{before}[ID]"], deleted[after]) == ("ONTASKDELETE", str(task), "undefined")


def test_an_event_carries_the_actors_tokens(acme, mailbox):
    bind(acme, "ONTASKUPDATE", mailbox.url)
    task = acme.sandbox.task("acme", creator=acme.bob)

    call(acme, "tasks.task.defer", {"taskId": task})
    by_bob = mailbox.read()
    acme.sandbox.change_task("acme", task, status=5)
    by_hand = mailbox.read()

    assert by_bob["auth[user_id]"] == str(acme.bob)
    assert call(acme, "profile", token=by_bob["auth[access_token]"]).json()["result"]["ID"] == str(acme.bob)
    assert "auth[refresh_token]" not in by_bob
    assert by_hand["auth[application_token]"] == acme.application_token
    assert "auth[access_token]" not in by_hand


def test_auth_type_selects_the_tokens(acme, mailbox):
    bind(acme, "ONTASKUPDATE", mailbox.url, auth_type=acme.ann)
    task = acme.sandbox.task("acme", creator=acme.bob)

    call(acme, "tasks.task.defer", {"taskId": task})

    assert mailbox.read()["auth[user_id]"] == str(acme.ann)


def test_an_unfinished_app_gets_no_events(acme, mailbox):
    acme.sandbox.install("acme", finished=False)
    bind(acme, "ONTASKUPDATE", mailbox.url)
    bind(acme, "ONAPPINSTALL", mailbox.url)
    task = acme.sandbox.task("acme", creator=acme.bob)

    call(acme, "tasks.task.defer", {"taskId": task})
    assert mailbox.is_empty()
    acme.sandbox.control("finish", portal="acme")
    assert mailbox.read()["event"] == "ONAPPINSTALL"


def test_events_can_be_late_or_lost(acme, mailbox):
    bind(acme, "ONTASKUPDATE", mailbox.url)
    task = acme.sandbox.task("acme", creator=acme.bob)

    acme.sandbox.settings(events__never=True)
    call(acme, "tasks.task.defer", {"taskId": task})
    acme.sandbox.settings(events__never=None, events__delay=1.5, events__times=2)
    call(acme, "tasks.task.renew", {"taskId": task})

    assert mailbox.is_empty(0.2)
    assert mailbox.read() == mailbox.read()
    assert mailbox.is_empty()


def test_a_failed_event_is_not_retried(acme, httpserver):
    httpserver.expect_request("/broken/").respond_with_data("no", status=500)
    bind(acme, "ONTASKUPDATE", httpserver.url_for("/broken/"))
    task = acme.sandbox.task("acme", creator=acme.bob)

    call(acme, "tasks.task.defer", {"taskId": task})

    wait_until(lambda: httpserver.log, what="the event")
    time.sleep(0.5)
    assert len(httpserver.log) == 1


def test_an_expired_payment_locks_the_app(acme, mailbox):
    bind(acme, "ONAPPPAYMENT", mailbox.url)

    acme.sandbox.control("pay", portal="acme", status="S", expired=True)

    letter = mailbox.read()
    assert (letter["data[STATUS]"], letter["data[PAYMENT_EXPIRED]"], letter["data[DAYS]"]) == ("S", "Y", "0")
    assert error_of(call(acme, "profile")) == (401, "PAYMENT_REQUIRED")
    acme.sandbox.control("pay", portal="acme", days=30)
    assert call(acme, "profile").status_code == 200


@pytest.mark.parametrize("status", [403, 401])
def test_a_free_plan_has_no_rest(acme, status):
    acme.sandbox.control("portal", portal="acme", rest_allowed=False)
    acme.sandbox.turn({"status.plan": status})

    assert error_of(call(acme, "profile")) == (status, "ACCESS_DENIED")


# -- Updates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("survive", [True, False])
def test_an_update_opens_the_installer(acme, survive):
    call(acme, "placement.bind", {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": HANDLER}, acme.admin_token)
    bind(acme, "ONAPPUNINSTALL", HANDLER)
    acme.sandbox.turn({"update.keeps_bindings": survive})

    assert acme.sandbox.control("update", portal="acme") == 2

    now = installation(acme)
    assert (now["active"], now["installed"]) == (True, False)
    assert (len(now["placements"]), len(now["events"])) == ((1, 1) if survive else (0, 0))
    assert urlsplit(acme.sandbox.open("acme", acme.ann)["url"]).path == "/install/"
    info = call(acme, "app.info").json()["result"]
    assert (info["VERSION"], info["INSTALLED"]) == (2, False)


# -- Uninstall --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_an_uninstall_tells_then_forgets(acme, mailbox, clean):
    call(acme, "placement.bind", {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": HANDLER}, acme.admin_token)
    bind(acme, "ONAPPUNINSTALL", mailbox.url)

    acme.sandbox.uninstall("acme", clean=clean)

    letter = mailbox.read()
    assert letter["data[CLEAN]"] == ("1" if clean else "0")
    assert letter["auth[application_token]"] == acme.application_token
    assert not {"auth[access_token]", "auth[refresh_token]"} & set(letter)
    now = installation(acme)
    assert (now["active"], now["installed"], now["placements"], now["events"]) == (False, False, [], [])


def test_a_used_token_gets_another_error(acme):
    call(acme, "profile")
    acme.sandbox.uninstall("acme")

    assert error_of(call(acme, "profile")) == (401, "APPLICATION_NOT_FOUND")
    assert error_of(call(acme, "profile", token=acme.admin_token)) == (401, "ERROR_OAUTH")
    acme.sandbox.move_clock(3601)
    assert error_of(call(acme, "profile")) == (401, "ERROR_OAUTH")


def test_a_reinstall_revives_no_chain(acme):
    refresh = acme.sandbox.open("acme", acme.bob)["refresh"]
    acme.sandbox.uninstall("acme")
    assert error_of(acme.sandbox.refresh(refresh)) == (401, "NOT_INSTALLED")
    acme.sandbox.install("acme")

    assert error_of(acme.sandbox.refresh(refresh)) == (400, "invalid_grant")
    assert call(acme, "profile", token=acme.sandbox.access("acme", acme.bob)).status_code == 200


# -- A new address ------------------------------------------------------------------------------------------


def test_a_renamed_portal_keeps_its_data(acme):
    old = acme.sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.control("rename", portal="acme", host=new)

    moved = call(acme, "profile", token=opening["access"])
    info = acme.sandbox.session.get(f"http://{acme.sandbox.oauth}/rest/app.info/", params={"auth": opening["access"]})
    there = acme.sandbox.post(f"http://{new}/rest/profile", json={"auth": opening["access"]})
    pair = acme.sandbox.refresh(opening["refresh"]).json()
    later = acme.sandbox.open("acme", acme.bob)

    assert (moved.status_code, moved.text, moved.headers["Location"]) == (302, "", f"http://{new}/rest/profile")
    install = info.json()["result"]["install"]
    assert (install["domain"], install["client_endpoint"]) == (new, f"http://{new}/rest/")
    assert install["member_id"] == pair["member_id"] == opening["fields"]["member_id"]
    assert there.json()["result"]["ID"] == str(acme.bob)
    assert pair["client_endpoint"] == f"http://{new}/rest/"
    assert later["query"]["DOMAIN"] == new
    assert [row["status"] for row in acme.sandbox.requests("acme")] == [302, 200]


def test_a_reset_undoes_a_rename(acme):
    acme.sandbox.control("rename", portal="acme", host=acme.sandbox.portals["acme"].replace("localhost", "127.0.0.1"))

    acme.sandbox.reset()

    assert call(acme, "profile").status_code == 401


# -- The modes --------------------------------------------------------------------------------------------


def test_a_box_has_no_limits(acme):
    acme.sandbox.control("mode", portal="acme", mode="box")
    acme.sandbox.turn({"cost.profile": 1000, "cost.sleep": 0})

    answers = [call(acme, "profile") for _ in range(60)]

    assert {answer.status_code for answer in answers} == {200}
    assert "operating" not in answers[0].json()["time"]
    assert "APPLICATION_TOKEN" in acme.sandbox.open("acme", acme.bob)["fields"]


def test_an_old_box_has_old_methods_only(acme):
    acme.sandbox.control("mode", portal="acme", mode="old_box")
    task = acme.sandbox.task("acme", creator=acme.ann, responsible=acme.bob, status=3)

    fields = acme.sandbox.open("acme", acme.bob)["fields"]
    assert not {"SERVER_ENDPOINT", "APPLICATION_TOKEN", "APPLICATION_SCOPE"} & set(fields)
    assert error_of(call(acme, "tasks.task.defer", {"taskId": task})) == (404, "ERROR_METHOD_NOT_FOUND")
    assert call(acme, "task.item.defer", {"TASKID": task}).json()["result"] is None
    assert acme.sandbox.states("acme") == {task: 6}
    inside = acme.sandbox.batch("acme", {"a": "tasks.task.list"}, acme.token).json()["result"]
    assert inside["result_error"]["a"]["error"] == "ERROR_METHOD_NOT_FOUND"


def test_a_mode_can_be_undone(acme):
    acme.sandbox.control("mode", portal="acme", mode="old_box")
    acme.sandbox.control("mode", portal="acme", mode="cloud")

    assert acme.sandbox.settings() == {}
    with pytest.raises(RuntimeError, match="bungalow"):
        acme.sandbox.control("mode", portal="acme", mode="bungalow")


# -- Full OAuth and links -----------------------------------------------------------------------------------


def authorize(acme, user, **changes):
    params = {"client_id": acme.sandbox.client_id, "state": "s 1&x"} | changes
    url = acme.sandbox.url("acme", "oauth/authorize/")
    cookies = {"desk_acme": str(user)} if user else {}
    return acme.sandbox.session.get(url, params=params, cookies=cookies, allow_redirects=False, timeout=10)


def redeem(acme, code):
    return acme.sandbox.refresh(None, grant_type="authorization_code", code=code)


def test_authorize_redirects_with_a_code(acme, app_port):
    answer = authorize(acme, acme.bob)

    place = urlsplit(answer.headers["Location"])
    query = dict(parse_qsl(place.query))
    assert answer.status_code == 302
    assert (f"{place.scheme}://{place.netloc}", place.path) == (f"http://127.0.0.1:{app_port}", "/")
    assert list(query) == ["code", "state", "domain", "member_id", "scope", "server_domain"]
    assert (query["state"], query["domain"]) == ("s 1&x", acme.sandbox.portals["acme"])
    assert (query["server_domain"], query["scope"]) == (acme.sandbox.oauth, "task,placement,user_brief,im")
    assert re.search(r"scope=task%2C", place.query)
    pair = redeem(acme, query["code"]).json()
    assert not {"expires", "user_id"} & set(pair)
    assert call(acme, "profile", token=pair["access_token"]).json()["result"]["ID"] == str(acme.bob)


def test_a_code_can_have_a_long_answer(acme):
    acme.sandbox.turn({"oauth.short_code_answer": False})
    code = dict(parse_qsl(urlsplit(authorize(acme, acme.bob).headers["Location"]).query))["code"]

    assert redeem(acme, code).json()["user_id"] == acme.bob


def test_a_code_lives_for_thirty_seconds(acme):
    code = dict(parse_qsl(urlsplit(authorize(acme, acme.bob).headers["Location"]).query))["code"]
    acme.sandbox.move_clock(31)

    assert error_of(redeem(acme, code)) == (400, "invalid_grant")


def test_authorize_shows_its_refusals(acme):
    assert authorize(acme, acme.bob, client_id="app.other").status_code == 404
    acme.sandbox.user("acme", number=acme.bob, may_use_app=False)
    assert authorize(acme, acme.bob).status_code == 403
    acme.sandbox.uninstall("acme")
    assert authorize(acme, acme.ann).status_code == 404
    assert authorize(acme, None).headers["Location"] == "/"
