"""A job in an old box, over real sockets and with real processes."""

import pytest

from tests.flows.page import Page

ORDINARY = {"acme/old_defer_rule": True, "acme/old_post": True}
OLDEST = ORDINARY | {"acme/no_new_tasks": True}


@pytest.mark.parametrize(
    "knobs, dialect, method, back",
    [
        (ORDINARY, "modern", "tasks.task.defer", {"tasks.task.renew", "tasks.task.start"}),
        (OLDEST, "legacy", "task.item.defer", {"task.item.renew", "task.item.startexecution"}),
    ],
    ids=["direct", "legacy"],
)
def test_30_tasks_are_deferred_in_one_step_each_and_returned(sandbox, app, knobs, dialect, method, back):
    sandbox.turn(knobs)
    app.start("web", "worker", "beat")
    bob = sandbox.user("acme", name="Bob")
    sandbox.install("acme")
    ids = sandbox.tasks("acme", count=30, status=3, creator=bob)
    page = Page.of_list(app, sandbox, bob)
    dialog = page.select()
    assert "Defer 30 tasks" in dialog
    job = page.defer(dialog)
    assert "30 deferred" in page.wait_for(job)
    changes = sandbox.truth("acme")
    assert sorted((c["task"], c["before"], c["after"]) for c in changes) == [(id, 3, 6) for id in ids]
    assert {c["method"] for c in changes} == {method}
    assert [tuple(map(str, row)) for row in app.rows("select dialect, status from defer_portal")] == [
        (dialect, "active")
    ]
    assert "30 returned" in page.wait_for(page.undo(job))
    assert {c["method"] for c in sandbox.truth("acme")[len(changes) :]} == back
    assert set(sandbox.states("acme", ids).values()) == {3}
