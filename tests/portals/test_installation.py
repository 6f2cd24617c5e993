"""The installer: it connects an administrator, checks the scope, and registers our bindings once."""

import pytest

from b24app import clock
from b24app.bitrix.client import Answer
from b24app.bitrix.errors import CredentialRefused
from b24app.models import Person, Portal, RestCall
from b24app.portals import clients, installation, openings
from b24app.worker import messages
from tests.portals.conftest import journaled, nothing_is_stored, posted


def bound(sandbox, opening):
    placements = sandbox.rest("acme", "placement.get", token=opening["access"]).json()["result"]
    events = sandbox.rest("acme", "event.get", token=opening["access"]).json()["result"]
    return sorted(row["placement"] for row in placements), [row["event"] for row in events]


def test_installing_binds_everything_once(sandbox, installing):
    for _ in range(3):
        person = installation.connect(posted(installing))
        installation.check_scope(person)
        installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])
    assert Portal.objects.count() == Person.objects.count() == 1


def test_menu_titles_are_translated(sandbox, installing):
    installation.bind(installation.connect(posted(installing)))
    rows = sandbox.rest("acme", "placement.get", token=installing["access"]).json()["result"]
    assert {row["langAll"]["en"]["TITLE"] for row in rows} == {"Defer tasks"}
    assert all(row["langAll"]["ru"]["TITLE"] for row in rows)


def test_only_an_admin_installs(sandbox, ann):
    sandbox.install("acme", finished=False)
    bob = sandbox.user("acme", name="Bob")
    with pytest.raises(installation.NotAllowed, match="not_admin"):
        installation.connect(posted(sandbox.open("acme", bob)))
    assert nothing_is_stored()


def test_a_forged_installer_stores_nothing(sandbox, installing):
    with pytest.raises(openings.NotProven):
        installation.connect(posted(installing, AUTH_ID="f" * 70))
    assert nothing_is_stored()


def test_a_missing_scope_is_named(sandbox, ann):
    sandbox.install("acme", finished=False, scope="task,placement")
    person = installation.connect(posted(sandbox.open("acme", ann)))
    with pytest.raises(installation.NotAllowed) as refused:
        installation.check_scope(person)
    assert (refused.value.code, refused.value.detail) == ("scope", "im, user_brief")


def test_an_old_address_is_replaced(sandbox, installing, settings):
    address = settings.PUBLIC_URL
    settings.PUBLIC_URL = "http://127.0.0.1:9999"
    person = installation.connect(posted(installing))
    installation.bind(person)
    settings.PUBLIC_URL = address
    installation.bind(person)
    rows = sandbox.rest("acme", "placement.get", token=installing["access"]).json()["result"]
    assert {row["handler"] for row in rows} == {f"{address}/placement/"}
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_two_admins_bind_everything_once(sandbox, installing, ann, monkeypatch):
    first = installation.connect(posted(installing))
    second = installation.connect(posted(sandbox.open("acme", sandbox.user("acme", name="Zoe", is_admin=True))))
    repairs = installation._binding_repairs

    def slower(client):
        found = repairs(client)
        monkeypatch.setattr(installation, "_binding_repairs", repairs)
        installation.bind(second)
        return found

    monkeypatch.setattr(installation, "_binding_repairs", slower)
    installation.bind(first)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_a_double_binding_becomes_one(sandbox, installing):
    person = installation.connect(posted(installing))
    installation.bind(person)
    sandbox.turn({"trap.binding_twice_fails": False})
    address = sandbox.control("installation", portal="acme")["placements"][0]["handler"]
    twice = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": address}
    sandbox.rest("acme", "placement.bind", twice, token=installing["access"])
    assert bound(sandbox, installing)[0].count("TASK_VIEW_TAB") == 2
    installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_an_admins_opening_repairs_bindings(sandbox, installing):
    person = installation.connect(posted(installing))
    messages.check_bindings(person.pk)
    sandbox.rest("acme", "placement.unbind", {"PLACEMENT": "TASK_VIEW_TAB"}, token=installing["access"])
    messages.check_bindings(person.pk)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])
    asked = len(sandbox.requests("acme"))
    messages.check_bindings(person.pk)
    assert len(sandbox.requests("acme")) == asked + 1


def test_other_openings_check_no_bindings(person):
    assert not installation.needs_bindings_checked(person)


def test_a_failed_bind_is_completed_later(sandbox, installing):
    person = installation.connect(posted(installing))
    sandbox.fault("placement.bind", "error", code="ERROR_CORE", status=400, skip=2)
    with pytest.raises(installation.NotAllowed, match="bind"):
        installation.bind(person)
    installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_an_admin_heals_a_lost_key(sandbox, installing, lose_key):
    person = installation.connect(posted(installing))
    lose_key()
    with pytest.raises(CredentialRefused, match="unreadable"):
        clients.ask(person, lambda client: client.call("profile"))
    installation.connect(posted(sandbox.open("acme", person.user_id)))
    assert clients.ask(person, lambda client: client.call("profile"))
    token = installing["fields"]["APPLICATION_TOKEN"]
    assert Portal.objects.get().knows_application_token(token, clock.now())


def test_an_installation_is_journaled(sandbox, installing):
    installation.check_scope(installation.connect(posted(installing)))
    assert journaled() == [("oauth/app.info", ""), ("profile", ""), ("oauth/app.info", "")]
    assert installing["fields"]["AUTH_ID"] not in str(list(RestCall.objects.values()))


def test_endless_bindings_fit_into_one_batch():
    rows = [
        {"placement": f"P{n}", "handler": "https://elsewhere.example/" + "x" * 900, "event": n} for n in range(5000)
    ]

    class Hostile:
        def batch(self, commands):
            return {command.key: Answer(rows) for command in commands}

    repairs = installation._binding_repairs(Hostile())
    assert len(repairs) == 50
    assert max(len(command.key) for command in repairs) < 1000
