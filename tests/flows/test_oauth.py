"""OAuth sign-in outside a frame, with real processes and the portal's own pages."""

import html
import re

import pytest
import requests

from b24app.models import Credential
from tests.flows.page import Page
from tests.processes import wait_until


class Browser:
    """A browser outside of any frame, logged in at acme; `get` follows redirects."""

    def __init__(self, sandbox, user):
        self.session = requests.Session()
        self.session.post(sandbox.url("acme", "desktop/become/"), data={"number": str(user)}, timeout=30)

    def get(self, url, **kwargs):
        return self.session.get(url, timeout=30, **kwargs)

    def go_until_the_code(self, url):
        """Follow `url` to the portal; return the callback address with its code, without opening it."""
        leaving = self.get(url, allow_redirects=False)
        answer = self.get(leaving.headers["Location"], allow_redirects=False)
        return answer.headers["Location"]


@pytest.fixture
def waiting(sandbox, installed, bob):
    """Three of Bob's tasks, his page, and a job that waits for his sign-in: `ids, page, job`."""
    ids = sandbox.tasks("acme", count=3, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    dialog = page.select(ids)
    sandbox.revoke("acme", user=bob)
    job = page.defer(dialog)
    wait_until(lambda: installed.value("select wait_reason from defer_job") == "person", what="the rejection")
    return ids, page, job


def start_of(text):
    """The address on the page that starts the sign-in."""
    return html.unescape(re.search(r'href="(/oauth/start/[^"]+)"', text).group(1))


def credential(app, user):
    query = "select state from defer_credential c join defer_person p on p.id = c.person_id where user_id = ?"
    return app.value(query, [user])


@pytest.mark.parametrize("short", [True, False], ids=["as-documented", "as-seen"])
def test_a_reconnected_person_resumes_the_job(sandbox, installed, bob, waiting, short):
    ids, page, job = waiting
    sandbox.turn({"oauth.short_code_answer": short})  # as documented, the answer has neither `expires` nor `user_id`
    back = Browser(sandbox, bob).get(f"{installed.url}{start_of(page.panel(job))}")
    assert [answer.status_code for answer in back.history] == [302, 302]
    assert "Connected as Bob Worker" in back.text
    assert "You can go back to Bitrix24" in back.text
    assert "3 deferred" in page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert credential(installed, bob) == Credential.State.USABLE
    assert {change["person"] for change in sandbox.truth("acme")} == {bob}


def test_an_old_code_offers_a_new_sign_in(sandbox, installed, bob, waiting):
    ids, page, job = waiting
    browser = Browser(sandbox, bob)
    address = browser.go_until_the_code(f"{installed.url}{start_of(page.panel(job))}")
    sandbox.move_clock(31)
    late = browser.get(address)
    assert (late.status_code, "That took too long" in late.text) == (400, True)
    assert credential(installed, bob) == Credential.State.NEEDS_REOPEN
    assert set(sandbox.states("acme", ids).values()) == {3}
    again = browser.go_until_the_code(f"{installed.url}{start_of(late.text)}")
    sandbox.move_clock(31 + 28)
    assert "You are connected" in browser.get(again).text
    assert browser.get(again).status_code == 400  # a callback works once
    assert "3 deferred" in page.wait_for(job)


def test_a_colleague_connects_only_themselves(sandbox, installed, bob, waiting):
    _, page, job = waiting
    eve = sandbox.user("acme", name="Eve", last_name="Other")
    back = Browser(sandbox, eve).get(f"{installed.url}{start_of(page.panel(job))}")
    assert "Connected as Eve Other" in back.text
    assert (credential(installed, eve), credential(installed, bob)) == ("usable", "needs_reopen")
    assert sandbox.truth("acme") == []
