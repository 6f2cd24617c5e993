"""A portal moves to another address, with real processes: which new addresses the app accepts."""

import pytest

from tests.flows.page import Page, post_opening
from tests.processes import wait_until


@pytest.fixture
def rename(sandbox):
    """Move acme to another address: `rename()` returns its new origin."""
    old = sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")

    def move():
        sandbox.control("rename", portal="acme", host=new)
        return f"http://{new}"

    yield move
    sandbox.control("rename", portal="acme", host=old)


def test_a_renamed_portal_is_followed(sandbox, installed, bob, rename):
    sandbox.turn({"cost.tasks.task.defer": 0.02, "cost.tasks.task.pause": 0.02})
    ids = sandbox.tasks("acme", count=40, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    job = page.defer(page.select(ids))
    wait_until(lambda: sandbox.truth("acme"), what="the first change")
    questions = len(sandbox.requests(None))
    new = rename()
    assert "40 deferred" in page.wait_for(job)
    assert len(sandbox.truth("acme")) == 80
    calls = [(request["method"], request["status"]) for request in sandbox.requests("acme")]
    (sent_away,) = [place for place, (_, status) in enumerate(calls) if status == 302]
    assert calls[sent_away + 1] == (calls[sent_away][0], 200)
    assert [request["method"] for request in sandbox.requests(None)[questions:]] == ["oauth/app.info"]
    assert installed.value("select endpoint from defer_portal") == f"{new}/rest/"


def test_links_follow_the_new_address(sandbox, installed, bob, rename):
    (task,) = sandbox.tasks("acme", count=1, status=3, creator=bob)
    old = sandbox.url("acme").rstrip("/")
    page = Page.of_list(installed, sandbox, bob)
    card = f'href="{{}}/company/personal/user/{bob}/tasks/task/view/{task}/"'
    assert card.format(old) in page.text
    new = rename()
    assert card.format(new) in page.call("GET", "/tasks/")
    answer = post_opening(installed, sandbox.open("acme", bob))
    assert card.format(new) in answer.text
    assert f'data-portal="{new}"' in answer.text
    assert f"frame-ancestors {new};" in answer.headers["Content-Security-Policy"] + ";"
    assert old not in answer.text + answer.headers["Content-Security-Policy"]


def test_a_foreign_redirect_is_not_followed(sandbox, installed, bob, httpserver):
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    dialog = page.select(ids)
    stranger = {"Location": httpserver.url_for("/rest/batch")}
    asked = len(sandbox.requests("acme"))
    sandbox.fault("*", "respond", portal="acme", status=302, body="", headers=stranger, times=-1)
    job = page.defer(dialog)
    wait_until(lambda: installed.value("select wait_reason from defer_job") == "portal", what="the job to wait")
    assert "not responding" in page.call("GET", "/tasks/")
    assert "not responding" in page.panel(job)
    assert 'name="code"' in post_opening(installed, sandbox.open("acme", bob)).text
    assert {request["status"] for request in sandbox.requests("acme")[asked:]} == {302}
    sandbox.clear_faults()
    sandbox.move_clock(61)
    assert "3 deferred" in page.wait_for(job)
    assert httpserver.log == []
    assert installed.value("select endpoint from defer_portal") == sandbox.url("acme", "rest/")
