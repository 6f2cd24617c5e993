"""Events that a portal reports."""

import pytest
from django.test import Client

from b24app.models import Portal

pytestmark = pytest.mark.django_db


def event(visitor, token, name="ONAPPUNINSTALL"):
    portal = visitor.person.portal
    fields = {"event": name, "auth[member_id]": portal.member_id, "auth[application_token]": token}
    return Client().post("/events/", fields)


@pytest.fixture
def opened_admin(visit):
    admin = visit(name="Ada", is_admin=True)
    admin.open()
    return admin


def test_an_uninstall_suspends_the_portal(opened_admin, sandbox):
    token = sandbox.control("installation", portal="acme")["application_token"]
    assert event(opened_admin, token).text == "ok"
    assert Portal.objects.get().status == Portal.Status.SUSPENDED
    assert opened_admin.get("/tasks/").status_code == 401


def test_a_forged_event_changes_nothing(opened_admin):
    assert event(opened_admin, "0" * 32).text == "ok"
    assert Portal.objects.get().status == Portal.Status.ACTIVE


def test_an_unknown_event_is_ignored(opened_admin, sandbox):
    token = sandbox.control("installation", portal="acme")["application_token"]
    assert event(opened_admin, token, "ONTASKADD").text == "ok"
    assert Portal.objects.get().status == Portal.Status.ACTIVE


def test_an_incomplete_event_is_refused():
    assert Client().post("/events/", {"event": "ONAPPUNINSTALL"}).status_code == 400
