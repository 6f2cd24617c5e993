"""The sandbox sends every saved payload with the same status, headers, keys, order and types."""

import json
from pathlib import Path

import pytest

PAYLOADS = json.loads(Path(__file__).with_name("payloads.json").read_text())
SHORTENED = (".task", ".allowedActions.5")  # whole maps that the file shows in part
EQUAL = ("error", "error_description", "PLACEMENT", "PLACEMENT_OPTIONS", "AUTH_EXPIRES", "event", "CODE")
URI = "/company/personal/user/1/tasks/"
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class World:
    """Acme as in the payloads: Ann is 1, the administrator; Bob is 5; project 11 has four members."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        sandbox.user("acme", number=1, name="Ann", last_name="Admin", position="CEO", is_admin=True)
        sandbox.user("acme", number=5, name="Bob", last_name="Worker", zone="Europe/Berlin")
        for number in (6, 7):
            sandbox.user("acme", number=number)
        sandbox.project("acme", number=11, name="Purchasing", members=[1, 5, 6, 7])
        sandbox.install("acme")
        self.opening = sandbox.open("acme", 5)
        self.token = self.opening["access"]
        self.admin_token = sandbox.access("acme", 1)

    def call(self, method, params=None, token=None, portal="acme"):
        return self.sandbox.rest(portal, method, params, token or self.token)

    def batch(self, cmd):
        return self.sandbox.batch("acme", cmd, self.token)

    def bind(self, event, mailbox):
        params = {"event": event, "handler": mailbox.url}
        assert self.call("event.bind", params, self.admin_token).status_code == 200

    def task(self, number, status, **more):
        return self.sandbox.task("acme", number=number, status=status, creator=5, **more)


@pytest.fixture
def world(sandbox):
    return World(sandbox)


# -- REST refusals ----------------------------------------------------------------------------------------


@scenario
def rest_expired_token(world):
    world.sandbox.expire("acme", user=5)
    return world.call("profile")


@scenario
def rest_invalid_token(world):
    return world.call("profile", token="0" * 70)


@scenario
def rest_no_auth_found(world):
    return world.sandbox.rest("acme", "profile")


@scenario
def rest_insufficient_scope(world):
    world.sandbox.install("acme", scope="placement")
    return world.call("tasks.task.list")


@scenario
def rest_query_limit_exceeded(world):
    world.sandbox.turn({"limits.bucket_size": 1, "limits.bucket_drain": 0.001})
    world.call("profile")
    return world.call("profile")


@scenario
def rest_operation_time_limit(world):
    world.sandbox.turn({"limits.operating": 1, "cost.profile": 2, "cost.sleep": 0})
    world.call("profile")
    return world.call("profile")


@scenario
def rest_overload_limit(world):
    text = "REST API is blocked due to overload."
    world.sandbox.fault("profile", "error", code="OVERLOAD_LIMIT", description=text, status=503)
    return world.call("profile")


@scenario
def rest_error_method_not_found(world):
    return world.call("tasks.task.snooze")


@scenario
def rest_application_not_found(world):
    world.call("profile")
    world.sandbox.uninstall("acme")
    return world.call("profile")


@scenario
def rest_payment_required(world):
    world.sandbox.install("acme", payment_expired=True)
    return world.call("profile")


@scenario
def rest_user_access_error(world):
    world.sandbox.user("acme", number=5, may_use_app=False)
    return world.call("profile")


@scenario
def rest_authorization_error(world):
    world.sandbox.user("acme", number=5, active=False)
    return world.call("profile")


@scenario
def rest_portal_deleted(world):
    world.sandbox.control("portal", portal="acme", deleted=True)
    return world.call("profile")


@scenario
def rest_1048582(world):
    world.task(32, 3)
    return world.call("tasks.task.defer", {"taskId": 32})


@scenario
def error_with_200(world):
    text = "Wrong request encoding"
    world.sandbox.fault("profile", "error", code="WRONG_ENCODING", description=text, status=200)
    return world.call("profile")


@scenario
def moved(world):
    host = world.sandbox.portals["acme"]
    world.sandbox.control("rename", portal="acme", host=host.replace("localhost", "127.0.0.1"))
    try:
        return world.call("tasks.task.list")
    finally:
        world.sandbox.control("rename", portal="acme", host=host)


@scenario
def portal_down(world):
    world.sandbox.fault("profile", "respond", status=503, body="<html><body><h1>503</h1></body></html>")
    return world.call("profile")


# -- Tasks ------------------------------------------------------------------------------------------------


@scenario
def tasks_task_list_page(world):
    world.task(31, 2, title="Call the supplier", project=11, responsible=5, deadline=7 * 86400)
    world.task(32, 3, title="Old one", deadline=-86400)
    world.sandbox.tasks("acme", count=49, creator=5, status=3)
    return world.call(
        "tasks.task.list",
        {
            "filter": {"RESPONSIBLE_ID": 5, "REAL_STATUS": [2, 3]},
            "select": ["ID", "TITLE", "STATUS", "GROUP_ID", "RESPONSIBLE_ID", "CREATED_BY", "DEADLINE"],
            "order": {"ID": "asc"},
            "start": 0,
        },
    )


@scenario
def tasks_task_get_unreadable(world):
    return world.call("tasks.task.get", {"taskId": 404})


@scenario
def getaccess(world):
    world.task(31, 3)
    return world.call("tasks.task.getaccess", {"taskId": 31})


@scenario
def legacy_task_item_defer_ok(world):
    world.task(13, 2)
    return world.call("task.item.defer", {"TASKID": 13})


@scenario
def legacy_task_item_defer_refused(world):
    world.task(13, 3)
    return world.call("task.item.defer", {"TASKID": 13})


# -- Batches ----------------------------------------------------------------------------------------------


@scenario
def batch_partial(world):
    world.task(31, 2)
    world.task(32, 3)
    return world.batch({f"d{number}": f"tasks.task.defer?taskId={number}" for number in (31, 32, 33)})


@scenario
def batch_all_failed(world):
    world.task(32, 3)
    return world.batch({"d32": "tasks.task.defer?taskId=32"})


@scenario
def batch_numeric_keys_ok(world):
    world.task(31, 2)
    world.task(34, 2)
    return world.batch(["tasks.task.defer?taskId=31", "tasks.task.defer?taskId=34"])


@scenario
def batch_numeric_keys_one_failed(world):
    world.task(31, 2)
    world.task(34, 2)
    return world.batch([f"tasks.task.defer?taskId={number}" for number in (31, 33, 34)])


@scenario
def batch_operating_limit_inside(world):
    world.task(31, 2)
    world.sandbox.turn({"limits.operating": 1, "cost.tasks.task.defer": 2, "cost.sleep": 0})
    world.batch({"d31": "tasks.task.defer?taskId=31"})
    return world.batch({"d31": "tasks.task.defer?taskId=31"})


# -- The app and its people -------------------------------------------------------------------------------


@scenario
def portal_app_info(world):
    return world.call("app.info")


@scenario
def profile(world):
    return world.call("profile")


@scenario
def placement_bind_duplicate(world):
    bind = {"PLACEMENT": "TASK_USER_LIST_TOOLBAR", "HANDLER": "http://127.0.0.1:8000/placement/"}
    world.call("placement.bind", bind, world.admin_token)
    return world.call("placement.bind", bind, world.admin_token)


@scenario
def event_bind_duplicate(world):
    bind = {"event": "ONAPPUNINSTALL", "handler": "http://127.0.0.1:8000/events/"}
    world.call("event.bind", bind, world.admin_token)
    answer = world.call("event.bind", bind, world.admin_token)
    world.sandbox.settings(events__never=True)
    return answer


# -- The authorization server -----------------------------------------------------------------------------


@scenario
def oauth_refresh_ok(world):
    return world.sandbox.refresh(world.opening["refresh"])


@scenario
def oauth_code_ok(world):
    code = world.sandbox.control("code", portal="acme", user=5)
    return world.sandbox.refresh(None, grant_type="authorization_code", code=code)


@scenario
def oauth_invalid_grant(world):
    world.sandbox.refresh(world.opening["refresh"])
    return world.sandbox.refresh(world.opening["refresh"])


@scenario
def oauth_wrong_client(world):
    return world.sandbox.refresh(world.opening["refresh"], client_id="app.nobody")


@scenario
def oauth_not_installed(world):
    world.sandbox.uninstall("acme")
    return world.sandbox.refresh(world.opening["refresh"])


@scenario
def oauth_payment_required(world):
    world.sandbox.install("acme", payment_expired=True)
    return world.sandbox.refresh(world.opening["refresh"])


@scenario
def oauth_app_info(world):
    url = f"http://{world.sandbox.oauth}/rest/app.info/"
    return world.sandbox.session.get(url, params={"auth": world.token})


# -- Openings ---------------------------------------------------------------------------------------------


@scenario
def post_installer(world):
    world.sandbox.install("acme", finished=False)
    return world.sandbox.open("acme", 5)


@scenario
def post_user_list_toolbar(world):
    return world.sandbox.open("acme", 5, "TASK_USER_LIST_TOOLBAR", {"USER_ID": 1, "URI": URI})


@scenario
def post_group_list_toolbar(world):
    options = {"GROUP_ID": 11, "URI": "/workgroups/group/11/tasks/"}
    return world.sandbox.open("acme", 5, "TASK_GROUP_LIST_TOOLBAR", options)


@scenario
def post_row_menu(world):
    return world.sandbox.open("acme", 5, "TASK_LIST_CONTEXT_MENU", {"ID": 31})


@scenario
def post_task_card(world):
    return world.sandbox.open("acme", 5, "TASK_VIEW_TAB", {"taskId": 31, "URI": f"{URI}task/view/31/"})


@scenario
def post_old_box(world):
    world.sandbox.turn({"acme/old_post": True})
    return world.sandbox.open("acme", 5)


# -- Events -----------------------------------------------------------------------------------------------


@scenario
def event_uninstall(world, mailbox):
    world.bind("ONAPPUNINSTALL", mailbox)
    world.sandbox.uninstall("acme")
    return {"fields": mailbox.read(), "query": {}}


@scenario
def event_install(world, mailbox):
    world.bind("ONAPPINSTALL", mailbox)
    world.sandbox.control("finish", portal="acme")
    return {"fields": mailbox.read(), "query": {}}


@scenario
def event_task_update(world, mailbox):
    world.bind("ONTASKUPDATE", mailbox)
    world.task(31, 2)
    world.sandbox.change_task("acme", 31, status=3)
    return {"fields": mailbox.read(), "query": {}}


# -- The comparison ---------------------------------------------------------------------------------------


def differences(expected, found, path=""):
    """The differences between `found` and `expected` in keys and types, as sentences."""
    if isinstance(expected, dict):
        return differences_of_maps(expected, found, path)
    if isinstance(expected, list):
        return differences_of_lists(expected, found, path)
    number = isinstance(expected, int | float) and not isinstance(expected, bool)
    in_time = ".time." in path or ".result_time" in path
    if number and in_time and isinstance(found, int | float):
        return []
    if type(expected) is not type(found):
        return [f"{path} is {found!r}, not {expected!r}"]
    if path.rpartition(".")[2] in EQUAL and ".app" not in path and expected != found:
        return [f"{path} is {found!r}, not {expected!r}"]
    return []


def differences_of_maps(expected, found, path):
    if not isinstance(found, dict):
        return [f"{path} is {found!r}, not a map"]
    missing = [f"{path}.{key} is missing" for key in expected if key not in found]
    extra = [f"{path}.{key} is too much" for key in found if key not in expected]
    inner = [
        line for key in expected if key in found for line in differences(expected[key], found[key], f"{path}.{key}")
    ]
    return missing + ([] if path.endswith(SHORTENED) else extra) + inner


def differences_of_lists(expected, found, path):
    if not isinstance(found, list):
        return [f"{path} is {found!r}, not a list"]
    if not expected and found:
        return [f"{path} is not empty"]
    pairs = zip(expected, found, strict=False)
    return [line for one, other in pairs for line in differences(one, other, f"{path}[]")]


def run(name, world, request):
    if name.startswith("event_") and name != "event_bind_duplicate":
        return SCENARIOS[name](world, request.getfixturevalue("mailbox"))
    return SCENARIOS[name](world)


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_sandbox_sends_this_payload(name, world, request):
    expected = PAYLOADS[name]

    found = run(name, world, request)

    if "fields" in expected:
        assert list(found["query"]) == list(expected["query"])
        assert differences(expected["fields"], found["fields"]) == []
        if not name.startswith("event_"):
            assert list(found["fields"]) == list(expected["fields"])
        return
    assert found.status_code == expected["status"]
    assert found.headers["Content-Type"] == expected["headers"]["Content-Type"]
    assert set(expected["headers"]) <= set(found.headers)
    if isinstance(expected["body"], str):
        assert found.text == expected["body"]
    else:
        assert differences(expected["body"], found.json()) == []


def test_no_payload_is_left_out():
    assert set(SCENARIOS) == set(PAYLOADS)
