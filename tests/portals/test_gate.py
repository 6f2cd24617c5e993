"""The gate: few threads inside one portal, and none that waits for a portal that does not answer."""

import threading
import time
import uuid

import pytest

from b24app.bitrix.errors import NotRun
from b24app.bitrix.records import Exchange
from b24app.portals import clients, gate
from b24app.portals.gate import Pass

A, B = "https://a.example/rest/", "https://b.example/rest/"


def page(endpoint=A, timeout=10.0):
    return Pass(endpoint, timeout, is_slice=False)


def ended(code="", status=200, milliseconds=10):
    return Exchange("profile", {}, status, code, milliseconds, {}, uuid.uuid4())


def time_out(way, times=1):
    for _ in range(times):
        way.note(ended("timeout", None, 10_000))


@pytest.fixture(autouse=True)
def short_queue(monkeypatch):
    monkeypatch.setattr(gate, "QUEUE_SECONDS", 0.05)


def test_two_pages_are_inside():
    page().enter()
    page(timeout=3.0).enter()
    with pytest.raises(NotRun, match="portal_is_slow"):
        page().enter()
    page(B).enter()
    page().leave()
    page().enter()


def test_one_slice_is_inside():
    way = Pass(A, 75.0, is_slice=True)
    way.enter()
    with pytest.raises(NotRun):
        way.enter()
    page().enter()
    way.leave()
    way.enter()


def test_a_page_waits_for_a_place(monkeypatch):
    monkeypatch.setattr(gate, "QUEUE_SECONDS", 5.0)
    page().enter()
    page().enter()
    threading.Timer(0.05, page().leave).start()
    started = time.monotonic()
    page().enter()
    assert 0.02 < time.monotonic() - started < 2


def test_few_pages_wait(monkeypatch):
    monkeypatch.setattr(gate, "MOST_QUEUED", 0)
    monkeypatch.setattr(gate, "QUEUE_SECONDS", 5.0)
    page().enter()
    page().enter()
    started = time.monotonic()
    with pytest.raises(NotRun):
        page().enter()
    assert time.monotonic() - started < 0.1


def test_a_slow_portal_has_no_queue(monkeypatch):
    monkeypatch.setattr(gate, "QUEUE_SECONDS", 5.0)
    page().enter()
    page().enter()
    time_out(page())
    started = time.monotonic()
    with pytest.raises(NotRun):
        page().enter()
    assert time.monotonic() - started < 0.1


def test_three_timeouts_open_the_breaker():
    time_out(page(), 2)
    page().note(ended())
    time_out(page(), 2)
    page().enter()
    page().leave()
    time_out(page())
    with pytest.raises(NotRun, match="portal_is_slow") as refused:
        page().enter()
    assert 10 < refused.value.delay <= gate.FIRST_PAUSE
    page(B).enter()
    page(timeout=3.0).enter()
    Pass(A, 75.0, is_slice=True).enter()


def test_a_slow_connection_is_a_timeout():
    for _ in range(3):
        page().note(ended("connect_failed", None, 3000))
    with pytest.raises(NotRun):
        page().enter()


@pytest.mark.parametrize("end", [ended("connect_failed", None, 5), ended("expired_token", 401), ended("", 200, 9000)])
def test_other_ends_are_no_timeouts(end):
    time_out(page(), 2)
    page().note(end)
    time_out(page(), 2)
    page().enter()


def test_one_page_tries_again(monkeypatch):
    monkeypatch.setattr(gate, "FIRST_PAUSE", 0.05)
    time_out(page(), 3)
    time.sleep(0.06)
    page().enter()
    with pytest.raises(NotRun):
        page().enter()
    page().note(ended())
    page().leave()
    page().enter()


def test_pauses_grow(monkeypatch):
    time_out(page(), 4)
    with pytest.raises(NotRun) as refused:
        page().enter()
    assert 1.5 * gate.FIRST_PAUSE < refused.value.delay <= 2 * gate.FIRST_PAUSE
    time_out(page(), 30)
    with pytest.raises(NotRun) as refused:
        page().enter()
    assert refused.value.delay <= gate.LONGEST_PAUSE


def test_every_end_gives_the_place_back(sandbox, person):
    def fail():
        raise NotRun("busy")

    for _ in range(5):
        with pytest.raises(NotRun, match="busy"):
            gate.hooks(page(), fail, lambda _: None)[0]()
        clients.client_for(person.portal, person.credential.access_token).call("profile")
    assert not any(each.inside for each in gate._gates.values())


def test_idle_portals_are_forgotten(monkeypatch):
    monkeypatch.setattr(gate, "MOST_PORTALS", 5)
    page("https://busy.example/rest/").enter()
    for number in range(50):
        time_out(page(f"https://p{number}.example/rest/"))
    assert len(gate._gates) <= 8
    assert any(each.inside for each in gate._gates.values())
