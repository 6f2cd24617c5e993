"""A job in an old box, over real sockets and with real processes."""

import pytest

from tests.flows.page import Page

ORDINARY = {"acme/old_defer_rule": True, "acme/old_post": True}
OLDEST = ORDINARY | {"acme/no_new_tasks": True}


@pytest.mark.parametrize(
    "knobs, dialect, method",
    [(ORDINARY, "modern", "tasks.task.defer"), (OLDEST, "legacy", "task.item.defer")],
    ids=["direct", "legacy"],
)
def test_30_tasks_are_deferred_in_one_step_each(sandbox, app, knobs, dialect, method):
    sandbox.turn(knobs)
    app.start("web", "worker", "beat")
    bob = sandbox.user("acme", name="Bob")
    sandbox.install("acme")
    ids = sandbox.tasks("acme", count=30, status=3, creator=bob)
    page = Page.of_list(app, sandbox, bob)
    dialog = page.select()
    assert "Defer 30 tasks" in dialog
    panel = page.wait_for(page.defer(dialog))
    assert "30 deferred" in panel
    changes = sandbox.truth("acme")
    assert sorted((c["task"], c["before"], c["after"]) for c in changes) == [(id, 3, 6) for id in ids]
    assert {c["method"] for c in changes} == {method}
    assert [tuple(map(str, row)) for row in app.rows("select dialect, status from defer_portal")] == [
        (dialect, "active")
    ]
