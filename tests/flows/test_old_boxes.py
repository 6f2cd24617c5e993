"""Jobs and openings at old on-premise portals, with real processes."""

import pytest

from tests.flows.page import Page, post_opening

ORDINARY = {"acme/old_defer_rule": True, "acme/old_post": True}
NO_NEW_TASKS = {"acme/no_new_tasks": True, "acme/old_post": True}
OLDEST = ORDINARY | NO_NEW_TASKS


@pytest.fixture
def box(sandbox, running, bob):
    """The running app, installed at an old on-premise portal: `box(knobs)`."""

    def make(knobs):
        sandbox.turn(knobs)
        sandbox.install("acme")
        return running

    return make


def steps(sandbox):
    return sorted((change["task"], change["before"], change["after"]) for change in sandbox.truth("acme"))


def learned(app):
    return [tuple(map(str, row)) for row in app.rows("select dialect, status from defer_portal")]


@pytest.mark.parametrize(
    "knobs, dialect, methods",
    [
        (ORDINARY, "modern", ["tasks.task.defer", "tasks.task.renew", "tasks.task.start"]),
        (OLDEST, "legacy", ["task.item.defer", "task.item.renew", "task.item.startexecution"]),
    ],
    ids=["direct", "legacy"],
)
def test_an_old_box_defers_and_returns_30_tasks(sandbox, box, bob, knobs, dialect, methods):
    app = box(knobs)
    ids = sandbox.tasks("acme", count=30, status=3, creator=bob, title="Call the supplier")
    page = Page.of_list(app, sandbox, bob)
    assert page.text.count("Select: Call the supplier") == 30
    assert "Call the supplier" in page.call("GET", "/tasks/", params={"title": "supplier", "sort": "DEADLINE"})
    dialog = page.select()
    assert "Defer 30 tasks" in dialog
    job = page.defer(dialog)
    assert "30 deferred" in page.wait_for(job)
    assert steps(sandbox) == [(id, 3, 6) for id in ids]
    assert "30 returned" in page.wait_for(page.undo(job))
    assert steps(sandbox) == sorted(step for id in ids for step in ((id, 3, 6), (id, 6, 2), (id, 2, 3)))
    assert sorted({change["method"] for change in sandbox.truth("acme")}) == methods
    assert learned(app) == [(dialect, "active")]


def test_the_oldest_box_restores_a_paused_task(sandbox, box, bob):
    app = box(NO_NEW_TASKS)
    kept, refused = sandbox.tasks("acme", count=2, status=3, creator=bob)
    page = Page.of_list(app, sandbox, bob)
    assert "1 deferred" in page.wait_for(page.defer(page.select([kept])))
    sandbox.fault("task.item.defer", "error", code="1048582", status=400, times=-1)
    assert "1 failed" in page.wait_for(page.defer(page.select([refused])))
    assert sandbox.states("acme") == {kept: 6, refused: 3}
    names = [change["method"].removeprefix("task.item.") for change in sandbox.truth("acme")]
    assert names == ["pauseexecution", "defer", "pauseexecution", "startexecution"]


def test_each_portal_gets_its_dialect(sandbox, box, bob):
    app = box(OLDEST)
    sandbox.user("umbrella", name="Zed", is_admin=True)
    sandbox.install("umbrella")
    (old,) = sandbox.tasks("acme", count=1, status=3, creator=bob)
    (new,) = sandbox.tasks("umbrella", count=1, status=3, creator=1)
    pages = [Page.of_list(app, sandbox, bob), Page(app, sandbox.open("umbrella", 1))]
    for page, task in zip(pages, (old, new), strict=True):
        assert "1 deferred" in page.wait_for(page.defer(page.select([task])))
    methods = {portal: {c["method"] for c in sandbox.truth(portal)} for portal in ("acme", "umbrella")}
    assert methods == {"acme": {"task.item.defer"}, "umbrella": {"tasks.task.pause", "tasks.task.defer"}}
    assert sorted(learned(app)) == [("legacy", "active"), ("modern", "active")]


ODD = [
    {"a[b][]": "1", "SOMETHING_NEW": "x" * 5000, "\u0444": "\u0000"},
    {"PLACEMENT": "X" * 500, "PLACEMENT_OPTIONS": "undefined", "SERVER_ENDPOINT": "no address", "status": ""},
    {"PLACEMENT_OPTIONS": '{"ID": {"a": [1]}, "USER_ID": "x", "any": null}', "AUTH_EXPIRES": "soon"},
    {"PLACEMENT": "\u0000", "APPLICATION_TOKEN": "\u0000", "AUTH_EXPIRES": "9" * 99},
]


def test_odd_fields_break_no_opening(sandbox, box, admin, bob):
    app = box(ORDINARY)
    sandbox.tasks("acme", count=1, status=3, creator=bob, title="Call the supplier")
    for fields in ODD:
        page = post_opening(app, sandbox.open("acme", bob), **fields)
        assert (page.status_code, "Call the supplier" in page.text) == (200, True), fields
        assert post_opening(app, sandbox.open("acme", admin), **fields).status_code == 200, fields
    odd = sandbox.open("acme", bob)
    odd["query"] |= {"LANG": "\u0000", "APP_SID": "\u0000", "SOMETHING_NEW": "1"}
    assert post_opening(app, odd).status_code == 200
