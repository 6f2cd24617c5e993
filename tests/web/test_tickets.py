"""Tickets, and the headers of every answer."""

import time

import pytest
import time_machine
from django.db import OperationalError
from django.test import Client

from b24app.models import Portal
from b24app.portals import people
from b24app.web.tickets import TICKET_LIFE, Ticket

pytestmark = pytest.mark.django_db


def test_a_ticket_opens_the_list(bob):
    bob.open()
    assert bob.get("/tasks/").status_code == 200


def test_without_a_ticket_there_is_401(bob):
    bob.open()
    bob.ticket = ""
    assert bob.get("/tasks/").status_code == 401


def test_a_changed_ticket_is_refused(bob):
    bob.open()
    bob.ticket = "A" + bob.ticket[1:]
    assert bob.get("/tasks/").status_code == 401


def test_a_ticket_lives_fifteen_minutes(bob):
    bob.open()
    with time_machine.travel(time.time() + TICKET_LIFE + 1):
        assert bob.get("/tasks/").status_code == 401


def test_lost_access_ends_a_ticket(bob):
    bob.open()
    Portal.objects.update(epoch=2)
    assert bob.get("/tasks/").status_code == 401


def test_a_ticket_is_for_one_portal(bob, visit):
    bob.open()
    ann = visit("umbrella", name="Ann")
    ann.open()
    mixed = Ticket(ann.person.portal_id, bob.person.pk, 1, "en", time.time(), time.time())
    bob.ticket = mixed.signed()
    assert bob.get("/tasks/").status_code == 401


def test_a_fresh_ticket_is_not_replaced(bob):
    bob.open()
    assert "X-Ticket" not in bob.get("/tasks/").headers


def test_a_half_used_ticket_is_renewed(bob):
    bob.open()
    before = bob.ticket
    with time_machine.travel(time.time() + TICKET_LIFE * 0.6):
        bob.get("/tasks/")
    assert bob.ticket != before
    with time_machine.travel(time.time() + TICKET_LIFE * 1.2):
        assert bob.get("/tasks/").status_code == 200


def test_a_session_ends_after_eight_hours(bob):
    bob.open()
    now = time.time()
    bob.ticket = Ticket(bob.person.portal_id, bob.person.pk, 1, "en", now - 8 * 3600 - 1, now - 600).signed()
    answer = bob.get("/tasks/")
    assert answer.status_code == 200
    assert "X-Ticket" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_sites_page_is_refused(bob, tasks, headers):
    (task,) = tasks()
    bob.open()
    assert bob.post("/selections/", {"ids": task}, **headers).status_code == 403


def test_our_own_page_is_accepted(bob, tasks, settings):
    (task,) = tasks()
    bob.open()
    headers = {"Origin": settings.PUBLIC_URL, "Sec-Fetch-Site": "same-origin"}
    assert bob.post("/selections/", {"ids": task}, **headers).status_code == 200


ROUTES = [
    *[("GET", path) for path in ("/", "/install/", "/tasks/", "/healthz", "/readyz", "/nowhere/")],
    *[("POST", path) for path in ("/", "/placement/", "/install/", "/install/scope/", "/install/bind/")],
    *[("POST", path) for path in ("/opening/", "/ticket/", "/events/", "/selections/", "/jobs/", "/jobs/1/dismiss/")],
    ("GET", "/jobs/1/"),
    ("GET", "/selections/00000000-0000-0000-0000-000000000000/"),
]


@pytest.mark.parametrize("method, path", ROUTES)
def test_every_answer_has_the_headers(method, path):
    answer = Client(raise_request_exception=False).generic(method, path)
    policy = answer["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"] == "no-store"
    assert "camera=()" in answer["Permissions-Policy"]
    assert not answer.cookies


def test_only_the_proven_portal_may_frame(bob, sandbox):
    page = bob.open()
    assert page["Content-Security-Policy"].endswith(f"frame-ancestors http://{sandbox.portals['acme']}")
    assert "X-Frame-Options" not in page
    assert not page.cookies


def test_a_forged_name_may_not_frame(bob, sandbox):
    bob.open()
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    opening["query"]["DOMAIN"] = "evil.example"
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    answer = bob.post_opening("/placement/", opening)
    assert "evil.example" not in answer["Content-Security-Policy"]


@pytest.mark.parametrize("seconds, header", [(0, None), (31536000, "max-age=31536000")])
def test_browsers_are_told_to_use_https(client, settings, seconds, header):
    settings.SECURE_HSTS_SECONDS = seconds
    assert client.get("/healthz").headers.get("Strict-Transport-Security") == header


def test_a_database_outage_asks_for_a_retry(bob, monkeypatch):
    bob.open()

    def fail(*args, **kwargs):
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(people, "person_of", fail)
    answer = bob.get("/tasks/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "lock timeout" not in answer.text


# -- Fresh tokens


def test_fresh_tokens_give_a_new_ticket(bob):
    bob.open()
    answer = bob.post_opening("/ticket/", bob.opening())
    assert answer.status_code == 204
    bob.ticket = answer["X-Ticket"]
    assert bob.get("/tasks/").status_code == 200


def test_forged_tokens_give_no_ticket(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    answer = bob.post_opening("/ticket/", opening)
    assert answer.status_code == 401
    assert "X-Ticket" not in answer


def test_another_site_gets_no_ticket(bob):
    assert bob.post_opening("/ticket/", bob.opening(), **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
