"""After a reinstall: what an administrator is told of, and may decide."""

from datetime import timedelta

import pytest

from b24app import dates
from b24app.models import Deferral, OwedReturn, Person

pytestmark = pytest.mark.django_db

NOTICE = "tasks still sleep from before the app was removed"


@pytest.fixture
def ada(visit):
    admin = visit(name="Ada", is_admin=True)
    admin.open()
    now = dates.now()
    for task in (11, 12):
        OwedReturn.objects.create(
            portal=admin.person.portal,
            task_id=task,
            previous_status=3,
            deferred_at=now,
            kept_until=now + timedelta(days=1),
        )
    return admin


def test_an_admin_is_told_how_many_tasks_still_sleep(ada):
    text = ada.open().text
    assert f"2 {NOTICE}" in text
    assert "Take over" in text
    assert "2 задачи отложены ещё до удаления" in ada.open(language="ru").text


def test_an_ordinary_person_is_not_told(ada, bob):
    assert NOTICE not in bob.open().text


def test_an_admin_takes_them_over_once(ada):
    ada.open()
    assert "2 tasks are in your care now" in ada.post("/owed/take-over/").text
    assert set(Deferral.objects.live().values_list("task_id", "person")) == {(11, ada.person.pk), (12, ada.person.pk)}
    assert NOTICE not in ada.open().text
    ada.post("/owed/take-over/")
    assert Deferral.objects.count() == 2


def test_an_admin_forgets_them(ada):
    ada.open()
    assert "Forgotten" in ada.post("/owed/forget/").text
    assert not OwedReturn.objects.exists()
    assert not Deferral.objects.exists()


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_who_was_an_admin_when_the_page_was_opened_and_is_none_now_decides_nothing(ada, sandbox, path):
    ada.open()
    sandbox.user("acme", number=ada.user, is_admin=False)
    assert "Only an administrator" in ada.post(path).text
    assert OwedReturn.objects.count() == 2
    assert not Person.objects.get(user_id=ada.user).is_admin


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_an_ordinary_person_decides_nothing(ada, bob, path):
    bob.open()
    assert "Only an administrator" in bob.post(path).text
    assert OwedReturn.objects.count() == 2


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_without_a_ticket_nobody_decides(ada, path):
    ada.ticket = ""
    assert ada.post(path).status_code == 401
    assert OwedReturn.objects.count() == 2


def test_a_portal_that_does_not_answer_leaves_the_choice(ada, sandbox):
    ada.open()
    sandbox.fault("profile", "respond", status=502, body="<html>", type="text/html")
    text = ada.post("/owed/take-over/").text
    assert "does not answer" in text
    assert "Take over" in text
    assert OwedReturn.objects.count() == 2
