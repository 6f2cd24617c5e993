"""Forged and incomplete openings store nothing, and too many of them are not checked."""

from datetime import timedelta

import pytest

from b24app import clock
from b24app.models import FailedOpening
from tests.web.conftest import nothing_is_stored

pytestmark = pytest.mark.django_db


def test_a_forged_opening_stores_nothing(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    answer = bob.post_opening("/placement/", opening)
    assert answer.status_code == 403
    assert "not installed" in answer.text
    assert nothing_is_stored()


def test_another_portals_token_is_refused(bob, visit):
    opening, other = bob.opening(), visit("umbrella", name="Ann").opening()
    opening["fields"]["AUTH_ID"] = other["fields"]["AUTH_ID"]
    assert bob.post_opening("/placement/", opening).status_code == 403
    assert nothing_is_stored()


@pytest.mark.parametrize("missing", ["AUTH_ID", "REFRESH_ID", "member_id"])
def test_an_incomplete_opening_is_refused(bob, missing):
    opening = bob.opening()
    del opening["fields"][missing]
    assert bob.post_opening("/", opening).status_code == 400


def forged(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    return opening


def test_the_sixth_forgery_is_not_checked(bob, sandbox):
    bob.open()
    answers = [bob.post_opening("/placement/", forged(bob)).status_code for _ in range(5)]
    asked = len(sandbox.requests("acme")) + len(sandbox.requests(None))
    turned_away = bob.post_opening("/placement/", forged(bob))
    assert answers == [403] * 5
    assert (turned_away.status_code, turned_away["Retry-After"]) == (429, "60")
    assert "Too many attempts" in turned_away.text
    assert bob.post_opening("/install/", forged(bob)).status_code == 429
    assert bob.post_opening("/ticket/", forged(bob)).status_code == 401
    assert len(sandbox.requests("acme")) + len(sandbox.requests(None)) == asked


def test_forgeries_block_one_address_briefly(bob, settings):
    settings.PROXY_COUNT = 1
    for _ in range(6):
        bob.post_opening("/placement/", forged(bob), **{"X-Forwarded-For": "192.0.2.1"})
    mine = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7"}
    assert bob.post_opening("/placement/", bob.opening(), **mine).status_code == 200
    theirs = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}
    assert bob.post_opening("/placement/", bob.opening(), **theirs).status_code == 429
    FailedOpening.objects.update(at=clock.now() - timedelta(seconds=61))
    assert bob.post_opening("/placement/", bob.opening(), **theirs).status_code == 200


def test_an_invented_address_does_not_help(bob):
    answers = [
        bob.post_opening("/placement/", forged(bob), **{"X-Forwarded-For": f"192.0.2.{n}"}).status_code
        for n in range(6)
    ]
    assert answers == [403] * 5 + [429]


def test_naming_other_portals_does_not_help(bob, monkeypatch):
    monkeypatch.setattr("b24app.portals.throttle.FAILURES_IN_ALL", 3)
    answers = []
    for n in range(4):
        opening = forged(bob)
        opening["fields"]["member_id"] = f"{n}" * 32
        answers.append(bob.post_opening("/placement/", opening).status_code)
    assert answers == [403, 403, 403, 429]
