"""Uninstalling: suspended by a report, confirmed by the authorization server, then erased."""

import logging
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from b24app import clock
from b24app.bitrix import tasks
from b24app.bitrix.client import Command
from b24app.bitrix.errors import NotInstalled
from b24app.bitrix.payloads import Event, read_opening
from b24app.engine import deferrals, jobs, queue, selections, slices
from b24app.models import Credential, Deferral, Job, JobItem, OrphanedDeferral, Person, Portal, RestCall
from b24app.portals import clients, credentials, openings, people, uninstall

Status = Portal.Status
PERSONAL = ("waiting for parts", "Bob", "Prepare the budget")


@pytest.fixture
def admin(sandbox, open_as, person):
    return open_as("acme", sandbox.user("acme", name="Ann", is_admin=True))


@pytest.fixture
def deferred(sandbox, person):
    """The ids of two tasks that the app has deferred. The first one was in progress before."""
    ids = [
        *sandbox.tasks("acme", count=1, status=3, creator=person.user_id, title="Prepare the budget"),
        *sandbox.tasks("acme", count=1, status=2, creator=person.user_id),
    ]
    jobs.start(person, selections.select_ticked(person, ids), "waiting for parts", "k1")
    slices.run(person.portal_id)
    assert Deferral.objects.live().count() == 2
    return ids


@pytest.fixture
def event(sandbox, admin):
    """The uninstall event of acme with its application token: `event(clean=True)`."""
    token = sandbox.open("acme", admin.user_id)["fields"]["APPLICATION_TOKEN"]

    def make(clean=False, token=token):
        return Event("ONAPPUNINSTALL", admin.portal.member_id, token, {"CLEAN": "1" if clean else "0"})

    return make


def status():
    return Portal.objects.get().status


def uninstalled(sandbox, event, **options):
    sandbox.uninstall("acme")
    portal = uninstall.report(event(**options))
    uninstall.confirm(portal.pk)


def test_a_report_suspends_the_portal(person, event):
    assert people.person_of(person.portal_id, person.pk, person.portal.epoch) == person
    assert uninstall.report(event())
    assert status() == Status.SUSPENDED
    assert people.person_of(person.portal_id, person.pk, person.portal.epoch) is None
    assert slices.run(person.portal_id) is None


@pytest.mark.parametrize("token", ["", "f" * 32])
def test_a_wrong_token_reports_nothing(event, token):
    assert uninstall.report(event(token=token)) is None
    assert status() == Status.ACTIVE


def test_an_unknown_portal_is_ignored(db):
    assert uninstall.report(Event("ONAPPUNINSTALL", "f" * 32, "t", {})) is None


def test_a_confirmation_erases_all_names(sandbox, deferred, event):
    uninstalled(sandbox, event)
    assert status() == Status.UNINSTALLED
    assert not any(model.objects.exists() for model in (Person, Credential, Job, Deferral))
    orphans = {orphan.task_id: orphan.previous_status for orphan in OrphanedDeferral.objects.all()}
    assert orphans == {deferred[0]: 3, deferred[1]: 2}
    kept = str([list(model.objects.values()) for model in (Portal, OrphanedDeferral, RestCall)])
    assert not any(word in kept for word in PERSONAL)
    assert RestCall.objects.filter(method="batch").exists()


def test_a_clean_uninstall_leaves_nothing(sandbox, deferred, event):
    uninstalled(sandbox, event, clean=True)
    models = (Portal, Person, Credential, Job, Deferral, OrphanedDeferral)
    assert not any(model.objects.exists() for model in models)
    assert set(RestCall.objects.values_list("portal", "job")) == {(None, None)}
    assert all(call.params == call.outcome == {} for call in RestCall.objects.all())


def test_a_forged_report_is_refuted(deferred, event):
    uninstall.confirm(uninstall.report(event()).pk)
    assert status() == Status.ACTIVE
    assert Deferral.objects.live().count() == 2
    assert Credential.objects.filter(state=Credential.State.USABLE).exists()


def test_after_a_forgery_reports_are_ignored(event):
    uninstall.confirm(uninstall.report(event()).pk)
    assert uninstall.report(event()) is None
    assert status() == Status.ACTIVE
    with time_machine.travel(clock.now() + timedelta(minutes=11)):
        assert uninstall.report(event())


def test_tokens_go_after_a_day(sandbox, deferred, event):
    sandbox.fault("oauth/token", "respond", status=502, body="<html>", type="text/html", times=-1)
    portal = uninstall.report(event())
    uninstall.confirm(portal.pk)
    assert status() == Status.SUSPENDED
    assert Credential.objects.exists()
    with time_machine.travel(clock.now() + timedelta(hours=25)):
        uninstall.confirm(portal.pk)
    assert status() == Status.SUSPENDED
    assert not Credential.objects.exists()
    assert Deferral.objects.live().count() == 2


@pytest.fixture
def unconfirmed(sandbox, deferred, event):
    """Report an uninstall that the authorization server does not confirm: `unconfirmed(clean)` is the portal."""

    def report(clean=False):
        sandbox.fault("oauth/token", "respond", status=502, body="<html>", type="text/html", times=-1)
        portal = uninstall.report(event(clean=clean))
        for hours in (1, 25):
            with time_machine.travel(clock.now() + timedelta(hours=hours)):
                uninstall.confirm(portal.pk)
        return portal

    return report


def sweep_after(days):
    with time_machine.travel(clock.now() + timedelta(days=days)):
        found = uninstall.unconfirmed()
        for portal_id in found:
            uninstall.confirm(portal_id)
    return found


def test_no_answer_for_a_week_erases(sandbox, unconfirmed, deferred, admin):
    unconfirmed()
    assert sweep_after(6.9) == []
    assert Person.objects.exists()
    assert sweep_after(7.1)
    assert status() == Status.UNINSTALLED
    assert not any(model.objects.exists() for model in (Person, Job, Deferral))
    assert set(OrphanedDeferral.objects.values_list("task_id", flat=True)) == set(deferred)
    assert deferrals.count_orphans(reinstall(sandbox, admin.user_id)) == 2


def test_no_answer_to_a_clean_report_erases_all(unconfirmed):
    unconfirmed(clean=True)
    assert sweep_after(7.1)
    assert not any(model.objects.exists() for model in (Portal, Person, OrphanedDeferral))


def test_a_dead_token_replaces_the_report(sandbox, deferred, person):
    sandbox.turn({"events.never": True})
    sandbox.uninstall("acme")
    with pytest.raises(NotInstalled):
        clients.ask(person, lambda client: client.call("profile"))
    assert status() == Status.SUSPENDED
    for portal_id in uninstall.unconfirmed():
        uninstall.confirm(portal_id)
    assert status() == Status.UNINSTALLED
    assert OrphanedDeferral.objects.count() == 2


def test_an_erased_portal_gets_no_calls(sandbox, deferred, event):
    uninstalled(sandbox, event)
    asked = len(sandbox.requests("acme")) + len(sandbox.requests(None))
    for portal_id in [*uninstall.unconfirmed(), *queue.portals_with_work()]:
        pytest.fail(f"portal {portal_id} still has work")
    assert len(sandbox.requests("acme")) + len(sandbox.requests(None)) == asked


def reinstall(sandbox, admin_number):
    sandbox.install("acme")
    opening = sandbox.open("acme", admin_number)
    read = read_opening(opening["query"], opening["fields"])
    return openings.open_page(read, Command("admin", "user.admin"), timeout=10).person


def test_an_admin_adopts_the_orphans(sandbox, deferred, event, admin):
    uninstalled(sandbox, event)
    again = reinstall(sandbox, admin.user_id)
    assert (again.portal.status, Portal.objects.count()) == (Status.ACTIVE, 1)
    assert deferrals.count_orphans(again) == 2
    assert deferrals.adopt(again) == 2
    assert deferrals.count_orphans(again) == 0
    assert set(Deferral.objects.live().values_list("task_id", "person")) == {(id, again.pk) for id in deferred}


def test_an_admin_discards_the_orphans(sandbox, deferred, event, admin):
    uninstalled(sandbox, event)
    again = reinstall(sandbox, admin.user_id)
    deferrals.discard(again)
    assert deferrals.count_orphans(again) == 0
    assert not Deferral.objects.exists()


def test_others_see_no_orphans(sandbox, deferred, event, person):
    uninstalled(sandbox, event)
    again = reinstall(sandbox, person.user_id)
    assert deferrals.count_orphans(again) == 0


def test_orphans_go_after_ninety_days(sandbox, deferred, event):
    uninstalled(sandbox, event)
    with time_machine.travel(clock.now() + timedelta(days=89)):
        uninstall.delete_expired()
        assert OrphanedDeferral.objects.count() == 2
    with time_machine.travel(clock.now() + timedelta(days=91)):
        uninstall.delete_expired()
    assert not OrphanedDeferral.objects.exists()
    assert not Portal.objects.exists()


def test_a_reinstall_prevents_the_expiry(sandbox, deferred, event):
    """The app is installed again after the cleaning has read the expired portals, and before it deletes them."""
    uninstalled(sandbox, event)
    expired = Portal.objects.get()
    expired.uninstalled_at = clock.now() - timedelta(days=91)
    expired.save()
    installed_again = Portal.objects.filter(pk=expired.pk, status=Status.UNINSTALLED)

    def reinstalled_after(execute, sql, *arguments):
        rows = execute(sql, *arguments)
        if sql.startswith("SELECT") and f'FROM "{Portal._meta.db_table}"' in sql:
            installed_again.update(status=Status.ACTIVE, uninstalled_at=None)
        return rows

    with connection.execute_wrapper(reinstalled_after):
        uninstall.delete_expired()
    assert status() == Status.ACTIVE
    assert OrphanedDeferral.objects.count() == 2


def test_another_portals_twin_is_untouched(sandbox, open_as, deferred, event):
    twin_number = sandbox.user("umbrella", name="Bob")
    sandbox.install("umbrella")
    twin = open_as("umbrella", twin_number)
    uninstalled(sandbox, event)
    assert list(Person.objects.all()) == [twin]
    assert credentials.usable(twin, 0)


# -- What happens during an uninstall


def test_a_reinstall_prevents_the_erasure(sandbox, deferred, event, admin, monkeypatch):
    sandbox.uninstall("acme")
    portal = uninstall.report(event())
    renew = credentials.renew_now

    def slowly(credential):
        reinstall(sandbox, admin.user_id)
        monkeypatch.setattr(credentials, "renew_now", renew)
        raise NotInstalled("NOT_INSTALLED")

    monkeypatch.setattr(credentials, "renew_now", slowly)
    uninstall.confirm(portal.pk)
    assert status() == Status.ACTIVE
    assert Deferral.objects.live().count() == 2


def test_a_clean_report_after_a_dead_token(sandbox, deferred, event, person):
    sandbox.uninstall("acme", clean=True)
    with pytest.raises(NotInstalled):
        clients.ask(person, lambda client: client.call("profile"))
    uninstall.confirm(uninstall.report(event(clean=True)).pk)
    assert not Portal.objects.exists()


@pytest.fixture
def erased(sandbox, deferred, event, person):
    """Erased because of a dead token, before the event. The event comes afterwards: `erased(clean=True)`."""
    late = event
    sandbox.uninstall("acme")
    with pytest.raises(NotInstalled):
        clients.ask(person, lambda client: client.call("profile"))
    uninstall.confirm(person.portal_id)
    assert status() == Status.UNINSTALLED
    assert OrphanedDeferral.objects.count() == 2
    return late


@pytest.mark.parametrize("is_late", [False, True])
def test_the_log_names_the_deleted_portal(sandbox, admin, event, caplog, is_late):
    caplog.set_level(logging.INFO)
    uninstalled(sandbox, event, clean=not is_late)
    if is_late:
        uninstall.report(event(clean=True))
    assert not Portal.objects.exists()
    told = [record.getMessage() for record in caplog.records if record.name == uninstall.__name__]
    assert all(message.startswith(f"portal {admin.portal_id}: ") for message in told), told


def test_a_clean_report_after_the_erasure(erased):
    assert uninstall.report(erased(clean=True)) is None
    assert not any(model.objects.exists() for model in (Portal, OrphanedDeferral))


@pytest.mark.parametrize("late", [{"clean": False}, {"clean": True, "token": "f" * 32}, {"clean": True, "token": ""}])
def test_other_late_reports_do_nothing(erased, late):
    assert uninstall.report(erased(**late)) is None
    assert (status(), OrphanedDeferral.objects.count()) == (Status.UNINSTALLED, 2)


def test_an_erased_portal_keeps_a_digest(sandbox, erased, admin):
    token = erased().application_token
    portal = Portal.objects.get()
    assert portal.uninstalled_token_digest
    assert token not in str(Portal.objects.values())
    assert not portal.sealed_application_token
    reinstall(sandbox, admin.user_id)
    assert Portal.objects.get().uninstalled_token_digest == ""


def test_paused_tasks_are_orphans_too(sandbox, person, admin, event):
    (task,) = sandbox.tasks("acme", count=1, status=3, creator=person.user_id)
    sandbox.fault("tasks.task.defer", "error", code="OPERATION_TIME_LIMIT", status=429, times=9)
    jobs.start(person, selections.select_ticked(person, [task]), "", "k")
    slices.run(person.portal_id)
    assert sandbox.states("acme", [task]) == {task: 2}
    uninstalled(sandbox, event)
    assert list(OrphanedDeferral.objects.values_list("task_id", "previous_status")) == [(task, 3)]


def test_a_refuted_portal_stays_active(sandbox, person, event):
    uninstall.confirm(uninstall.report(event()).pk)
    sandbox.fault("profile", "error", code="APPLICATION_NOT_FOUND", status=401)
    with pytest.raises(NotInstalled):
        clients.ask(person, lambda client: client.call("profile"))
    assert status() == Status.ACTIVE


def test_confirming_slows_down_to_an_hour(sandbox, deferred, event):
    sandbox.fault("oauth/token", "respond", status=502, body="<html>", type="text/html", times=-1)
    portal = uninstall.report(event())
    assert uninstall.unconfirmed() == [portal.pk]
    uninstall.confirm(portal.pk)
    now = clock.now()
    due = {}
    for seconds in (30, 61, 3601 + 30, 3601 + 61):
        with time_machine.travel(now + timedelta(seconds=seconds), tick=False):
            due[seconds] = uninstall.unconfirmed() == [portal.pk]
            if due[seconds]:
                uninstall.confirm(portal.pk)
    assert due == {30: False, 61: True, 3631: False, 3662: True}


def test_without_a_key_nothing_is_asked(event, admin):
    portal = uninstall.report(event())
    Credential.objects.update(state=Credential.State.NEEDS_REOPEN)
    assert uninstall.unconfirmed() == []
    with time_machine.travel(clock.now() + timedelta(hours=25)):
        assert uninstall.unconfirmed() == [portal.pk]
        uninstall.confirm(portal.pk)
        Credential.objects.all().delete()
    with time_machine.travel(clock.now() + timedelta(hours=27)):
        assert uninstall.unconfirmed() == []


def test_erasing_goes_in_portions(sandbox, deferred, event, monkeypatch):
    monkeypatch.setattr(uninstall, "PORTION", 1)
    sandbox.uninstall("acme")
    portal = uninstall.report(event())
    with CaptureQueriesContext(connection) as queries:
        uninstall.erase(portal)
    read = [query["sql"] for query in queries if query["sql"].startswith("SELECT") and "jobitem" in query["sql"]]
    assert read
    of_paused_tasks = "status_before"  # few, ever
    assert all("LIMIT 1" in sql or " IN (" in sql or of_paused_tasks in sql for sql in read)
    assert OrphanedDeferral.objects.count() == 2
    assert not any(model.objects.exists() for model in (Person, Credential, Job, JobItem, Deferral))


@pytest.mark.parametrize("clean", [False, True])
def test_a_cut_erasure_is_completed(sandbox, deferred, event, monkeypatch, clean):
    def cut(portal):
        raise SystemExit

    sandbox.uninstall("acme")
    portal = uninstall.report(event(clean=clean))
    with monkeypatch.context() as cutting:
        cutting.setattr(uninstall, "_erase_people", cut)
        with pytest.raises(SystemExit):
            uninstall.confirm(portal.pk)
    assert status() == Status.SUSPENDED
    with time_machine.travel(clock.now() + timedelta(minutes=2)):
        for portal_id in uninstall.unconfirmed():
            uninstall.confirm(portal_id)
    assert list(Portal.objects.values_list("status", flat=True)) == ([] if clean else [Status.UNINSTALLED])
    assert OrphanedDeferral.objects.count() == (0 if clean else 2)
    assert not Person.objects.exists()


def test_a_lost_answer_leaves_an_orphan(sandbox, person, event, monkeypatch):
    deferred, returning = sandbox.tasks("acme", count=2, status=2, creator=person.user_id)
    job = jobs.start(person, selections.select_ticked(person, [deferred]), "", "k")
    send = tasks.send

    def uninstalled_meanwhile(client, acts):
        replies = send(client, acts)
        uninstall.report(event())
        return replies

    monkeypatch.setattr(tasks, "send", uninstalled_meanwhile)
    slices.run(person.portal_id)
    assert job.items.values_list("state", "step").get() == ("sent", "none")
    back = Job.objects.create(
        portal=person.portal, person=person, kind=Job.Kind.RETURN, key="r", digest="", total=1, created_at=clock.now()
    )
    JobItem.objects.create(job=back, task_id=returning, state="sent", status_before=2)
    sandbox.uninstall("acme")
    uninstall.confirm(person.portal_id)
    assert list(OrphanedDeferral.objects.values_list("task_id", "previous_status")) == [(deferred, 2)]
