"""After a reinstall an administrator sees the orphaned deferrals, and adopts or discards them."""

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
    Portal.objects.update(epoch=2)  # as an uninstall does
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


def test_an_admin_sees_the_orphans(ada):
    text = ada.open().text
    assert f"2 {NOTICE}" in text
    assert "Take over" in text
    assert "2 задачи, отложенные до удаления приложения" in ada.open(language="ru").text


def test_others_do_not_see_the_orphans(ada, bob):
    assert NOTICE not in bob.open().text


def test_an_admin_adopts_orphans_once(ada):
    ada.open()
    assert "You have taken over 2 tasks" in ada.post("/orphans/adopt/").text
    assert set(Deferral.objects.live().values_list("task_id", "person")) == {(11, ada.person.pk), (12, ada.person.pk)}
    assert NOTICE not in ada.open().text
    ada.post("/orphans/adopt/")
    assert Deferral.objects.count() == 2


@pytest.fixture
def deferred(ada, sandbox):
    """Two deferred tasks of Ada's portal, adopted by her."""
    ids = sandbox.tasks("acme", count=2, status=6, creator=ada.user)
    for orphan, id in zip(OrphanedDeferral.objects.all(), ids, strict=True):
        OrphanedDeferral.objects.filter(pk=orphan.pk).update(task_id=id)
    ada.open()
    ada.post("/orphans/adopt/")
    return ids


def test_adopted_tasks_return_as_one_job(ada, deferred, sandbox):
    assert "You have taken over 2 tasks" in ada.open().text
    answer = ada.post("/orphans/return/")
    assert answer["HX-Trigger-After-Swap"] == "job-asked"
    ada.post("/orphans/return/")
    job = Job.objects.get()
    assert (job.kind, job.total) == (Job.Kind.RETURN, 2)
    work(ada.person)
    assert set(sandbox.states("acme", deferred).values()) == {3}
    assert "You have taken over" not in ada.open().text
    ada.post("/orphans/return/")
    assert Job.objects.count() == 1


def test_a_failed_return_can_be_repeated(ada, deferred, sandbox):
    sandbox.fault("tasks.task.renew", "error", code="1048582", status=400, times=1)
    ada.post("/orphans/return/")
    work(ada.person)
    assert "You have taken over 1 task." in ada.open().text
    ada.post("/orphans/return/")
    assert Job.objects.count() == 2


def test_an_admin_discards_orphans(ada):
    ada.open()
    assert "Dismissed" in ada.post("/orphans/discard/").text
    assert not OrphanedDeferral.objects.exists()
    assert not Deferral.objects.exists()


@pytest.mark.parametrize("path", ["/orphans/adopt/", "/orphans/discard/"])
def test_a_former_admin_decides_nothing(ada, sandbox, path):
    ada.open()
    sandbox.user("acme", number=ada.user, is_admin=False)
    assert "Only an administrator" in ada.post(path).text
    assert OrphanedDeferral.objects.count() == 2
    assert not Person.objects.get(user_id=ada.user).is_admin


@pytest.mark.parametrize("path", ["/orphans/adopt/", "/orphans/discard/"])
def test_only_an_admin_decides(ada, bob, path):
    bob.open()
    assert "Only an administrator" in bob.post(path).text
    assert OrphanedDeferral.objects.count() == 2


@pytest.mark.parametrize("path", ["/orphans/adopt/", "/orphans/discard/"])
def test_no_decision_without_a_ticket(ada, path):
    ada.ticket = ""
    assert ada.post(path).status_code == 401
    assert OrphanedDeferral.objects.count() == 2


def test_a_silent_portal_leaves_the_choice(ada, sandbox):
    ada.open()
    sandbox.fault("profile", "respond", status=502, body="<html>", type="text/html")
    text = ada.post("/orphans/adopt/").text
    assert "not responding" in text
    assert "Take over" in text
    assert OrphanedDeferral.objects.count() == 2
