"""Every key, prefix and order of tasks.task.list in the manual or the portal's code."""

import pytest

DAY = 86400  # seconds
SPECS = {
    "root": {"number": 21, "status": 3, "tags": ["red", "blue"], "mark": "P", "stage": 5, "deadline": DAY * 9},
    "child": {"number": 22, "status": 2, "parent": 21, "tags": ["red"], "sprint": 7, "depends_on": [21]},
    "late": {"number": 23, "status": 3, "deadline": -DAY, "crm": ["D_12"], "backlog": 8},
    "judged": {"number": 24, "status": 4, "mark": "N", "allow_time_tracking": True, "priority": 2},
    "asleep": {"number": 25, "status": 6, "task_control": True},
    "almost": {"number": 26, "status": 2, "deadline": DAY / 2},
}
ALL = set(SPECS)


@pytest.fixture
def tasks(acme):
    calls = [("tasks", {"portal": "acme", "tasks": [{"creator": acme.bob, **spec}]}) for spec in SPECS.values()]
    acme.sandbox.many(*calls)  # one after another: a later task names an earlier one
    names = {spec["number"]: name for name, spec in SPECS.items()}

    def listed(token=None, **params):
        answer = acme.sandbox.rest("acme", "tasks.task.list", params, token or acme.token)
        assert answer.status_code == 200, answer.text
        return [names[int(row["id"])] for row in answer.json()["result"]["tasks"]]

    return listed


@pytest.mark.parametrize(
    "condition, expected",
    [
        ({"PARENT_ID": 21}, {"child"}),
        ({"PARENT_ID": 0}, ALL - {"child"}),
        ({"ONLY_ROOT_TASKS": "Y"}, ALL - {"child"}),
        ({"ONLY_ROOT_TASKS": "N"}, ALL),
        ({"TAG": "red"}, {"root", "child"}),
        ({"TAG": ["blue", "green"]}, {"root"}),
        ({"!TAG": "red"}, ALL - {"root", "child"}),
        ({"UF_CRM_TASK": "D_12"}, {"late"}),
        ({"DEPENDS_ON": 21}, {"child"}),
        ({"MARK": "P"}, {"root"}),
        ({"!MARK": ["P", "N"]}, ALL - {"root", "judged"}),
        ({"STAGE_ID": 5}, {"root"}),
        ({"SPRINT_ID": [7, 8]}, {"child"}),
        ({"BACKLOG_ID": 8}, {"late"}),
        ({"ALLOW_TIME_TRACKING": "Y"}, {"judged"}),
        ({"!TASK_CONTROL": "Y"}, ALL - {"asleep"}),
        ({">PRIORITY": 1}, {"judged"}),
        ({"><ID": [22, 24]}, {"child", "late", "judged"}),
        ({"!><ID": [22, 24]}, {"root", "asleep", "almost"}),
        ({"=ID": 22}, {"child"}),
        ({"!=ID": [22, 23]}, ALL - {"child", "late"}),
        ({"<=ID": 22}, {"root", "child"}),
        ({"WO_DEADLINE": "Y"}, {"child", "judged", "asleep"}),
        ({"STATUS": [-1, -3]}, {"late", "almost"}),
        ({"<STATUS": 0}, {"late", "almost"}),
        ({"!STATUS": 3}, ALL - {"root"}),
        ({"ROLE": "R", "REAL_STATUS": 3}, {"root", "late"}),
        ({"ROLE": "O"}, set()),
        ({"ROLE": "X", "REAL_STATUS": [2]}, {"child", "almost", "judged"}),
        (
            {"REAL_STATUS": [2, 3], "::SUBFILTER-1": {"::LOGIC": "OR", "TAG": "blue", "<ID": 23}},
            {"root", "child"},
        ),
        (
            {"::LOGIC": "OR", "::SUBFILTER-1": {"REAL_STATUS": 6}, "::SUBFILTER-2": {"TAG": "red", "MARK": "P"}},
            {"asleep", "root"},
        ),
        ({"::SUBFILTER-1": {"::SUBFILTER-1": {"ID": 25}}}, {"asleep"}),
    ],
)
def test_filters(tasks, condition, expected):
    assert set(tasks(filter=condition)) == expected


def test_deadlines_use_the_persons_zone(acme, tasks):
    acme.sandbox.task("acme", creator=acme.bob, number=27, deadline="2031-05-01T00:30:00+02:00")
    names = {"><DEADLINE": ["2031-05-01", "2031-05-02"]}

    answer = acme.sandbox.rest("acme", "tasks.task.list", {"filter": names, "select": ["ID"]}, acme.token)

    assert [row["id"] for row in answer.json()["result"]["tasks"]] == ["27"]


@pytest.mark.parametrize(
    "order, expected",
    [
        ({"ID": "asc"}, ["root", "child", "late", "judged", "asleep", "almost"]),
        ({"REAL_STATUS": "desc", "ID": "desc"}, ["asleep", "judged", "late", "root", "almost", "child"]),
        ({"DEADLINE": "asc,nulls", "ID": "asc"}, ["late", "almost", "root", "child", "judged", "asleep"]),
        ({"PRIORITY": "desc", "SORTING": "asc", "ID": "asc"}, ["judged", "root", "child", "late", "asleep", "almost"]),
        ({"RESPONSIBLE_LAST_NAME": "asc", "ID": "desc"}, ["almost", "asleep", "judged", "late", "child", "root"]),
    ],
)
def test_orders(tasks, order, expected):
    assert tasks(order=order) == expected


def test_custom_fields_must_be_selected(acme, tasks):
    def row(*select):
        params = {"filter": {"ID": 23}, "select": list(select)}
        return acme.sandbox.rest("acme", "tasks.task.list", params, acme.token).json()["result"]["tasks"][0]

    assert row("ID", "UF_CRM_TASK")["ufCrmTask"] == ["D_12"]
    assert row("UF_*")["ufCrmTask"] == ["D_12"]
    assert "ufCrmTask" not in row("*")
    assert row("TAGS")["tags"] == []
