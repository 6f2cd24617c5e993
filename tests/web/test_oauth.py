"""Sign-in outside a frame: bound to one browser, and valid only for the person who signed in."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.test import Client

from b24app import clock
from b24app.models import Credential, Job, Person

pytestmark = pytest.mark.django_db

COOKIE = "oauth"


@pytest.fixture
def browser():
    return Client()


@pytest.fixture
def at_home(bob):
    """Bob, who has opened the app before and whose token was rejected since."""
    bob.open()
    Credential.objects.update(state=Credential.State.NEEDS_REOPEN)
    return bob


def leave(browser, sandbox, portal="acme"):
    """Start the sign-in at a portal; return the address and its state."""
    answer = browser.get("/oauth/start/", {"domain": sandbox.portals[portal]})
    assert answer.status_code == 302
    return answer["Location"], parse_qs(urlsplit(answer["Location"]).query)["state"][0]


def come_back(browser, sandbox, state, user, portal="acme", language="en"):
    code = sandbox.control("code", portal=portal, user=user)
    query = {"code": code, "state": state, "domain": sandbox.portals[portal], "scope": "task"}
    return browser.get("/", query, headers={"Accept-Language": language})


def test_each_browser_gets_its_own_state(browser, sandbox, at_home):
    location, state = leave(browser, sandbox)
    assert location.startswith(f"http://{sandbox.portals['acme']}/oauth/authorize/?client_id={sandbox.client_id}&")
    assert leave(Client(), sandbox)[1] != state


@pytest.mark.parametrize("domain", ["", "evil.example", "localhost", "http://localhost:1", "umbrella"])
def test_only_known_portals_are_visited(browser, sandbox, at_home, domain):
    domain = sandbox.portals.get(domain, domain)
    answer = browser.get("/oauth/start/", {"domain": domain})
    assert answer.status_code == 404
    assert not answer.cookies


def test_the_cookie_is_bound_to_the_host(browser, sandbox, at_home, settings):
    leave(browser, sandbox)
    assert browser.cookies[COOKIE]["httponly"]
    assert int(browser.cookies[COOKIE]["max-age"]) == 600
    settings.PUBLIC_URL = "https://defer.example"
    answer = browser.get("/oauth/start/", {"domain": sandbox.portals["acme"]})
    cookie = answer.cookies["__Host-oauth"]
    assert (cookie["secure"], cookie["path"], cookie["domain"], cookie["samesite"]) == (True, "/", "", "Lax")


def test_signing_in_continues_the_jobs(
    browser, sandbox, at_home, tasks, sent_messages, django_capture_on_commit_callbacks
):
    at_home.open()
    at_home.start(tasks(2))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON)
    Credential.objects.update(state=Credential.State.NEEDS_REOPEN)
    _, state = leave(browser, sandbox)
    sent_messages.clear()
    with django_capture_on_commit_callbacks(execute=True):
        page = come_back(browser, sandbox, state, at_home.user)
    assert page.status_code == 200
    assert "You can go back to Bitrix24" in page.text
    assert "Bob Worker" in page.text
    assert Credential.objects.get().state == Credential.State.USABLE
    assert Job.objects.get().state == Job.State.QUEUED
    assert sent_messages == [at_home.person.portal_id]
    assert browser.cookies[COOKIE].value == ""


@pytest.mark.parametrize("short", [True, False])
def test_tokens_go_to_who_signed_in(browser, sandbox, at_home, short):
    sandbox.turn({"oauth.short_code_answer": short})
    eve = sandbox.user("acme", name="Eve")
    _, state = leave(browser, sandbox)
    assert "Connected as Eve" in come_back(browser, sandbox, state, eve).text
    states = dict(Credential.objects.values_list("person__user_id", "state"))
    assert states == {at_home.user: Credential.State.NEEDS_REOPEN, eve: Credential.State.USABLE}


def test_another_browsers_state_is_refused(sandbox, at_home):
    _, state = leave(Client(), sandbox)
    spent = len(sandbox.requests(None))
    page = come_back(Client(), sandbox, state, at_home.user)
    assert page.status_code == 400
    assert "sign-in did not start in this browser" in page.text
    assert Credential.objects.get().state == Credential.State.NEEDS_REOPEN
    assert len(sandbox.requests(None)) == spent


def test_a_forged_state_is_refused(browser, sandbox, at_home):
    leave(browser, sandbox)
    assert come_back(browser, sandbox, "forged", at_home.user).status_code == 400
    assert Credential.objects.get().state == Credential.State.NEEDS_REOPEN


def test_a_state_ends_after_ten_minutes(browser, sandbox, at_home):
    _, state = leave(browser, sandbox)
    with time_machine.travel(clock.now() + timedelta(minutes=11)):
        assert come_back(browser, sandbox, state, at_home.user).status_code == 400


def test_a_state_works_once(browser, sandbox, at_home):
    _, state = leave(browser, sandbox)
    assert come_back(browser, sandbox, state, at_home.user).status_code == 200
    assert come_back(browser, sandbox, state, at_home.user).status_code == 400


def test_an_expired_code_can_be_tried_again(browser, sandbox, at_home):
    _, state = leave(browser, sandbox)
    code = sandbox.control("code", portal="acme", user=at_home.user)
    sandbox.move_clock(31)
    page = browser.get("/", {"code": code, "state": state})
    assert page.status_code == 400
    assert "That took too long" in page.text
    assert f"/oauth/start/?domain={sandbox.portals['acme'].replace(':', '%3A')}" in page.text


def test_another_portals_code_is_refused(browser, sandbox, at_home):
    stranger = sandbox.user("umbrella", name="Zed")
    sandbox.install("umbrella")
    _, state = leave(browser, sandbox)
    page = come_back(browser, sandbox, state, stranger, portal="umbrella")
    assert page.status_code == 403
    assert "a different Bitrix24 account" in page.text
    assert list(Person.objects.values_list("user_id", flat=True)) == [at_home.user]


def test_a_refused_sign_in_says_why(browser, sandbox, at_home):
    _, state = leave(browser, sandbox)
    sandbox.fault("oauth/token", "error", code="PAYMENT_REQUIRED", status=401)
    page = come_back(browser, sandbox, state, at_home.user)
    assert page.status_code == 403
    assert "not paid for" in page.text


def test_the_sign_in_speaks_both_languages(browser, sandbox, at_home):
    Person.objects.update(language="ru")
    assert "Страница устарела" in come_back(browser, sandbox, "x", at_home.user, language="ru").text
    _, state = leave(browser, sandbox)
    assert "Можно вернуться в Битрикс24" in come_back(browser, sandbox, state, at_home.user).text


def test_the_public_page_needs_no_code(browser):
    assert "Defer is an app" in browser.get("/").text
    assert "Defer is an app" in browser.get("/", {"code": "x"}).text


def test_a_waiting_job_links_to_the_sign_in(at_home, tasks, sandbox):
    at_home.open()
    at_home.start(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON)
    text = at_home.get(f"/jobs/{Job.objects.get().pk}/").text
    assert f'href="/oauth/start/?domain={sandbox.portals["acme"].replace(":", "%3A")}" target="_blank"' in text
