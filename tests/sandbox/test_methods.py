"""Methods for people, projects, notifications, updates, history and timers, and the legacy methods."""

import pytest

DAY = 86400  # seconds
HOUR = 3600


def ask(acme, method, params=None, token=None):
    answer = acme.sandbox.rest("acme", method, params, token or acme.token)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def refusal(acme, method, params=None, token=None):
    answer = acme.sandbox.rest("acme", method, params, token or acme.token)
    return answer.status_code, answer.json()["error"]


@pytest.fixture
def wide(acme):
    """Acme, where the app has more scopes than it asks for."""
    acme.sandbox.install("acme", scope="task,placement,user_brief,im,sonet_group,calendar")
    return acme


# -- Lists of methods --------------------------------------------------------------------------------------


def test_scopes_and_methods_can_be_listed(acme):
    acme.sandbox.install("acme", scope="im,task")

    assert ask(acme, "scope") == ["im", "task"]
    assert "sonet_group" in ask(acme, "scope", {"full": True})
    own, every = ask(acme, "methods"), ask(acme, "methods", {"full": True})
    assert "tasks.task.defer" in own
    assert "placement.bind" not in own
    assert "placement.bind" in every
    assert set(ask(acme, "methods", {"scope": "im"})) == {"im.notify.personal.add", "im.notify.system.add"}


@pytest.mark.parametrize(
    "name, expected",
    [("tasks.task.defer", (True, True)), ("sonet_group.get", (True, False)), ("no.such", (False, False))],
)
def test_a_method_can_be_asked_about(acme, name, expected):
    said = ask(acme, "method.get", {"name": name})

    assert (said["isExisting"], said["isAvailable"]) == expected


def test_an_old_box_lists_no_new_methods(acme):
    acme.sandbox.turn({"acme/no_new_tasks": True})

    assert ask(acme, "method.get", {"name": "tasks.task.defer"})["isExisting"] is False
    assert "task.item.defer" in ask(acme, "methods")


def test_placements_can_be_listed(acme):
    assert "TASK_USER_LIST_TOOLBAR" in ask(acme, "placement.list", token=acme.admin_token)


def test_every_listed_method_exists(wide):
    names = """app.info batch calendar.settings.get event.bind event.get event.unbind im.notify.personal.add
        im.notify.system.add method.get methods placement.bind placement.get placement.list placement.unbind profile
        scope server.time sonet_group.get task.commentitem.add task.item.defer task.item.getdata task.item.list
        task.item.renew task.item.startexecution tasks.task.complete tasks.task.defer tasks.task.get
        tasks.task.getaccess tasks.task.getfields tasks.task.history.list tasks.task.list tasks.task.pause
        tasks.task.renew tasks.task.start tasks.task.update user.admin user.current user.get"""

    assert set(names.split()) <= set(ask(wide, "methods"))


# -- People and projects ----------------------------------------------------------------------------------


def test_people_can_be_filtered(acme):
    acme.sandbox.user("acme", number=acme.zoe, active=False)

    def found(**wanted):
        return [int(row["ID"]) for row in ask(acme, "user.get", wanted)]

    assert found(ID=[acme.bob, acme.zoe]) == [acme.bob, acme.zoe]
    assert found(FILTER={"ACTIVE": True}) == [acme.ann, acme.bob]
    assert found(ACTIVE="N") == [acme.zoe]
    assert found(filter={"%LAST_NAME": "work"}) == [acme.bob]
    assert found(order="desc")[0] == acme.zoe


def test_people_come_fifty_per_page(acme):
    for _ in range(50):
        acme.sandbox.user("acme")

    answer = acme.sandbox.rest("acme", "user.get", {"start": 0}, acme.token).json()

    assert (len(answer["result"]), answer["next"], answer["total"]) == (50, 50, 53)
    assert answer["result"][0]["TIMESTAMP_X"] == {}
    assert "EMAIL" not in answer["result"][0]


def test_people_see_their_own_projects(wide):
    wide.sandbox.project("acme", number=11, name="Purchasing", members=[wide.bob])
    wide.sandbox.project("acme", number=12, name="Secret", members=[])

    assert [row["ID"] for row in ask(wide, "sonet_group.get")] == ["11"]
    assert ask(wide, "sonet_group.get", {"IS_ADMIN": "Y"}, wide.admin_token)[1]["NAME"] == "Secret"
    assert ask(wide, "sonet_group.get", {"IS_ADMIN": "Y", "FILTER": {"%NAME": "purch"}}, wide.admin_token)[0][
        "NUMBER_OF_MEMBERS"
    ] == ("1")


def test_the_working_week_can_be_read(wide):
    assert ask(wide, "calendar.settings.get")["week_holidays"] == ["SA", "SU"]


def test_a_tag_replaces_a_notification(acme):
    ask(acme, "im.notify.personal.add", {"USER_ID": acme.zoe, "MESSAGE": "one", "TAG": "job"})
    ask(acme, "im.notify.system.add", {"USER_ID": acme.zoe, "MESSAGE": "two", "TAG": "job"})
    ask(acme, "im.notify.personal.add", {"USER_ID": acme.zoe, "MESSAGE": "three"})

    bell = acme.sandbox.control("notifications", portal="acme", user=acme.zoe)

    assert [(row["message"], row["from"]) for row in bell] == [("two", None), ("three", acme.bob)]
    assert refusal(acme, "im.notify.personal.add", {"MESSAGE": "x"}) == (400, "USER_ID_EMPTY")
    assert refusal(acme, "im.notify.personal.add", {"USER_ID": acme.zoe}) == (400, "MESSAGE_EMPTY")


# -- Updates and history ----------------------------------------------------------------------------------


def test_an_update_skips_the_transitions(acme):
    task = acme.sandbox.task("acme", creator=acme.ann, responsible=acme.bob, status=3)

    assert ask(acme, "tasks.task.update", {"taskId": task, "fields": {"STATUS": 6}})["task"]["status"] == "6"
    assert acme.sandbox.truth("acme")[-1]["method"] == "tasks.task.update"


@pytest.mark.parametrize("status", [1, 7, "six", None])
def test_an_update_takes_statuses_2_to_6(acme, status):
    task = acme.sandbox.task("acme", creator=acme.bob)

    assert refusal(acme, "tasks.task.update", {"taskId": task, "fields": {"STATUS": status}}) == (400, "ERROR_CORE")


def test_an_update_drops_unknown_fields(acme):
    task = acme.sandbox.task("acme", creator=acme.bob, deadline=DAY)
    acme.sandbox.project("acme", number=11, members=[acme.bob])
    fields = {
        "TITLE": "New",
        "DEADLINE": "2031-05-01T12:00:00+02:00",
        "GROUP_ID": 11,
        "RESPONSIBLE_ID": acme.zoe,
        "ACCOMPLICES": [acme.ann],
        "TAGS": ["a", "b"],
        "NO_SUCH": 1,
    }

    row = ask(acme, "tasks.task.update", {"taskId": task, "fields": fields})["task"]

    assert (row["title"], row["deadline"], row["groupId"]) == ("New", "2031-05-01T12:00:00+02:00", "11")
    assert (row["responsibleId"], row["accomplices"]) == (str(acme.zoe), [str(acme.ann)])
    assert [tag["title"] for tag in row["tags"].values()] == ["a", "b"]
    assert ask(acme, "tasks.task.update", {"taskId": task, "fields": {"DEADLINE": ""}})["task"]["deadline"] is None


def test_status_right_is_no_deadline_right(acme):
    task = acme.sandbox.task("acme", creator=acme.ann, responsible=acme.bob, status=3)
    update = {"taskId": task, "fields": {"DEADLINE": "2031-05-01", "STATUS": 6}}

    assert refusal(acme, "tasks.task.update", update) == (400, "1048582")
    assert refusal(acme, "tasks.task.update", {"taskId": 404, "fields": {"STATUS": 6}}) == (400, "1048582")
    assert refusal(acme, "tasks.task.update", {"taskId": task, "fields": {"TITLE": " "}}, acme.admin_token) == (
        400,
        "ERROR_CORE",
    )
    assert acme.sandbox.states("acme") == {task: 3}


def test_history_lists_changed_fields(acme):
    task = acme.sandbox.task("acme", creator=acme.bob, title="Old", status=3)
    ask(acme, "tasks.task.pause", {"taskId": task})
    ask(acme, "tasks.task.defer", {"taskId": task})
    ask(acme, "tasks.task.update", {"taskId": task, "fields": {"TITLE": "New"}}, acme.admin_token)

    lines = ask(acme, "tasks.task.history.list", {"taskId": task})["list"]

    assert [(line["field"], line["value"], line["user"]["id"]) for line in lines] == [
        ("STATUS", {"from": "3", "to": "2"}, str(acme.bob)),
        ("STATUS", {"from": "2", "to": "6"}, str(acme.bob)),
        ("TITLE", {"from": "Old", "to": "New"}, str(acme.ann)),
    ]
    newest = ask(
        acme, "tasks.task.history.list", {"taskId": task, "filter": {"FIELD": "STATUS"}, "order": {"ID": "desc"}}
    )
    assert newest["list"][0]["value"]["to"] == "6"
    stranger = acme.sandbox.access("acme", acme.zoe)
    assert refusal(acme, "tasks.task.history.list", {"taskId": task}, stranger) == (400, "1048582")


def test_task_fields_are_described(acme):
    fields = ask(acme, "tasks.task.getfields")["fields"]

    assert fields["ID"]["primary"] is True
    assert fields["STATUS"]["values"]["6"] == "Deferred"
    assert fields["DEADLINE"]["type"] == "datetime"


def test_losing_a_task_answers_a_list(acme):
    moderator = acme.sandbox.user("acme")
    group = acme.sandbox.project("acme", editors=[moderator])
    task = acme.sandbox.task("acme", creator=acme.bob, project=group)
    token = acme.sandbox.access("acme", moderator)

    assert ask(acme, "tasks.task.update", {"taskId": task, "fields": {"GROUP_ID": 0}}, token) == []
    assert refusal(acme, "tasks.task.update", {"taskId": task, "fields": {"TITLE": "x"}}, token) == (400, "1048582")


# -- Timers -----------------------------------------------------------------------------------------------


@pytest.fixture
def timed(acme):
    """A task of Bob in progress, with Zoe as a participant. The timers of both have run for an hour."""
    fields = {"allow_time_tracking": True, "status": 3}
    task = acme.sandbox.task("acme", creator=acme.ann, responsible=acme.bob, accomplices=[acme.zoe], **fields)
    for user in (acme.bob, acme.zoe):
        acme.sandbox.control("timer", portal="acme", task=task, user=user)
    acme.sandbox.settings(access_lifetime=DAY)
    acme.token = acme.sandbox.access("acme", acme.bob)
    acme.sandbox.move_clock(HOUR)
    return task


def clocks(acme, task):
    told = acme.sandbox.look("acme", task)
    return sorted(told["timers"]), round(told["time_spent"] / HOUR)


def test_deferring_stops_the_own_timer(acme, timed):
    ask(acme, "tasks.task.pause", {"taskId": timed})
    assert clocks(acme, timed) == ([acme.bob, acme.zoe], 0)

    row = ask(acme, "tasks.task.defer", {"taskId": timed})["task"]

    assert clocks(acme, timed) == ([acme.zoe], 1)
    assert round(int(row["timeSpentInLogs"]) / HOUR) == 1


def test_a_strangers_defer_stops_no_timer(acme, timed):
    by_ann = acme.sandbox.access("acme", acme.ann)
    ask(acme, "tasks.task.pause", {"taskId": timed}, by_ann)
    ask(acme, "tasks.task.defer", {"taskId": timed}, by_ann)

    assert clocks(acme, timed) == ([acme.bob, acme.zoe], 0)


def test_completing_stops_every_timer(acme, timed):
    ask(acme, "tasks.task.complete", {"taskId": timed})

    assert clocks(acme, timed) == ([], 2)


def test_a_timer_wakes_a_deferred_task(acme, timed):
    ask(acme, "tasks.task.update", {"taskId": timed, "fields": {"STATUS": 6}})

    ask(acme, "tasks.task.startTimer", {"taskId": timed})

    changes = acme.sandbox.look("acme", timed)["changes"]
    assert [(row["before"], row["after"]) for row in changes] == [(3, 6), (6, 2), (2, 3)]
    assert clocks(acme, timed)[0] == [acme.bob, acme.zoe]


def test_a_tracked_timer_can_be_paused(acme, timed):
    other = acme.sandbox.task("acme", creator=acme.bob)

    ask(acme, "tasks.task.pauseTimer", {"taskId": timed})

    assert clocks(acme, timed) == ([acme.zoe], 1)
    assert ask(acme, "tasks.task.pauseTimer", {"taskId": other}) is None


def test_a_list_can_show_timers(acme, timed):
    params = {"select": ["ID"], "params": {"WITH_TIMER_INFO": "Y", "RETURN_ACCESS": "Y", "WITH_RESULT_INFO": "Y"}}

    [row] = ask(acme, "tasks.task.list", params)["tasks"]

    assert row["timerIsRunningForCurrentUser"] is True
    assert round(row["timeElapsed"] / HOUR) == 1
    assert row["action"]["pause"] is True
    assert row["taskRequireResult"] == "N"


# -- Legacy -----------------------------------------------------------------------------------------------


def test_the_legacy_list_is_positional(acme):
    late, other = acme.sandbox.tasks(
        "acme", [{"status": 3, "deadline": -DAY}, {"status": 6}], creator=acme.bob, title="T"
    )
    params = {
        "anything": {"ID": "asc"},
        "may": {"REAL_STATUS": [3, 6]},
        "stand": {"NAV_PARAMS": {"nPageSize": 1, "iNumPage": 2}},
        "here": ["ID", "TITLE", "STATUS"],
    }

    answer = acme.sandbox.rest("acme", "task.item.list", params, acme.token).json()
    params["stand"] = {}
    whole = ask(acme, "task.item.list", params)

    assert [row["ID"] for row in answer["result"]] == [str(other)]
    assert answer["total"] == 2
    assert whole[0] == {"ID": str(late), "TITLE": "T", "STATUS": "-1", "REAL_STATUS": "3"}


def test_the_first_argument_is_the_order(acme):
    acme.sandbox.task("acme", creator=acme.bob, status=3)

    assert refusal(acme, "task.item.list", {"FILTER": {"NO_SUCH_KEY": 6}})[0] == 400
    assert refusal(acme, "task.item.list", {"ORDER": "asc"}) == (400, "ERROR_CORE")


def test_legacy_data_have_both_statuses(acme):
    task = acme.sandbox.task("acme", creator=acme.bob, status=6, deadline=-DAY)

    row = ask(acme, "task.item.getdata", {"id": task})

    assert (row["STATUS"], row["REAL_STATUS"], row["RESPONSIBLE_LAST_NAME"]) == ("-1", "6", "Worker")
    stranger = acme.sandbox.access("acme", acme.zoe)
    answer = acme.sandbox.rest("acme", "task.item.getdata", {"id": task}, stranger).json()
    assert answer["error"] == "ERROR_CORE"
    assert "TASK_NOT_FOUND_OR_NOT_ACCESSIBLE<br>" in answer["error_description"]


def test_legacy_methods_defer_and_renew(acme):
    acme.sandbox.turn({"acme/old_defer_rule": True})
    task = acme.sandbox.task("acme", creator=acme.ann, responsible=acme.bob, status=3)

    for method in ("task.item.defer", "task.item.renew", "task.item.startexecution"):
        assert ask(acme, method, {"TASKID": task}) is None

    assert [row["after"] for row in acme.sandbox.look("acme", task)["changes"]] == [6, 2, 3]


def test_a_comment_is_added_by_position(acme, mailbox):
    task = acme.sandbox.task("acme", creator=acme.bob)
    bind = {"event": "ONTASKCOMMENTADD", "handler": mailbox.url}
    assert ask(acme, "event.bind", bind, acme.admin_token) is True

    number = ask(acme, "task.commentitem.add", {"TASKID": task, "FIELDS": {"POST_MESSAGE": "Until Monday"}})

    assert acme.sandbox.look("acme", task)["comments"] == [{"text": "Until Monday", "person": acme.bob}]
    letter = mailbox.read()
    assert letter["data[FIELDS_AFTER][MESSAGE_ID]"] == str(number)
    assert (letter["data[FIELDS_AFTER][ID]"], letter["data[FIELDS_AFTER][TASK_ID]"]) == ("0", str(task))
    wrong_way_round = {"FIELDS": {"POST_MESSAGE": "x"}, "TASKID": task}
    assert refusal(acme, "task.commentitem.add", wrong_way_round) == (400, "ERROR_CORE")


# -- Languages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "portal, user, start",
    [("ru", "", "Действие"), ("de", "", "Die Aktion"), ("ru", "en", "Action"), ("pl", "", "Action")],
)
def test_a_refusal_is_localized(acme, portal, user, start):
    acme.sandbox.control("portal", portal="acme", language=portal)
    acme.sandbox.user("acme", number=acme.bob, language=user)

    for method in ("tasks.task.defer", "task.item.defer"):
        answer = acme.sandbox.rest("acme", method, {"taskId": 404}, acme.token).json()
        assert answer["error_description"].startswith(start)
