"""After a reinstall: what an administrator is told of, and may decide."""

from datetime import timedelta

import pytest

from b24app import clock
from b24app.models import Deferral, Job, OrphanedDeferral, Person, Portal
from tests.engine.work import work

pytestmark = pytest.mark.django_db

NOTICE = "tasks that the app deferred before it was uninstalled are still deferred"


@pytest.fixture
def ada(visit):
    admin = visit(name="Ada", is_admin=True)
    admin.open()
    Portal.objects.update(epoch=2)  # as a removal does
    admin.open()
    now = clock.now()
    for task in (11, 12):
        OrphanedDeferral.objects.create(
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
    assert "2 задачи, отложенные до удаления приложения" in ada.open(language="ru").text


def test_an_ordinary_person_is_not_told(ada, bob):
    assert NOTICE not in bob.open().text


def test_an_admin_takes_them_over_once(ada):
    ada.open()
    assert "You have taken over 2 tasks" in ada.post("/owed/take-over/").text
    assert set(Deferral.objects.live().values_list("task_id", "person")) == {(11, ada.person.pk), (12, ada.person.pk)}
    assert NOTICE not in ada.open().text
    ada.post("/owed/take-over/")
    assert Deferral.objects.count() == 2


@pytest.fixture
def asleep(ada, sandbox):
    """Two tasks of Ada's portal that sleep, and are in her care."""
    ids = sandbox.tasks("acme", count=2, status=6, creator=ada.user)
    for owed, id in zip(OrphanedDeferral.objects.all(), ids, strict=True):
        OrphanedDeferral.objects.filter(pk=owed.pk).update(task_id=id)
    ada.open()
    ada.post("/owed/take-over/")
    return ids


def test_an_admin_returns_what_was_taken_over_as_one_job(ada, asleep, sandbox):
    assert "You have taken over 2 tasks" in ada.open().text
    answer = ada.post("/owed/return/")
    assert answer["HX-Trigger-After-Swap"] == "job-asked"
    ada.post("/owed/return/")
    job = Job.objects.get()
    assert (job.kind, job.total) == (Job.Kind.RETURN, 2)
    work(ada.person)
    assert set(sandbox.states("acme", asleep).values()) == {3}
    assert "You have taken over" not in ada.open().text
    ada.post("/owed/return/")
    assert Job.objects.count() == 1


def test_what_could_not_be_returned_can_be_asked_for_again(ada, asleep, sandbox):
    sandbox.fault("tasks.task.renew", "error", code="1048582", status=400, times=1)
    ada.post("/owed/return/")
    work(ada.person)
    assert "You have taken over 1 task." in ada.open().text
    ada.post("/owed/return/")
    assert Job.objects.count() == 2


def test_an_admin_forgets_them(ada):
    ada.open()
    assert "Dismissed" in ada.post("/owed/forget/").text
    assert not OrphanedDeferral.objects.exists()
    assert not Deferral.objects.exists()


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_who_was_an_admin_when_the_page_was_opened_and_is_none_now_decides_nothing(ada, sandbox, path):
    ada.open()
    sandbox.user("acme", number=ada.user, is_admin=False)
    assert "Only an administrator" in ada.post(path).text
    assert OrphanedDeferral.objects.count() == 2
    assert not Person.objects.get(user_id=ada.user).is_admin


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_an_ordinary_person_decides_nothing(ada, bob, path):
    bob.open()
    assert "Only an administrator" in bob.post(path).text
    assert OrphanedDeferral.objects.count() == 2


@pytest.mark.parametrize("path", ["/owed/take-over/", "/owed/forget/"])
def test_without_a_ticket_nobody_decides(ada, path):
    ada.ticket = ""
    assert ada.post(path).status_code == 401
    assert OrphanedDeferral.objects.count() == 2


def test_a_portal_that_does_not_answer_leaves_the_choice(ada, sandbox):
    ada.open()
    sandbox.fault("profile", "respond", status=502, body="<html>", type="text/html")
    text = ada.post("/owed/take-over/").text
    assert "not responding" in text
    assert "Take over" in text
    assert OrphanedDeferral.objects.count() == 2
