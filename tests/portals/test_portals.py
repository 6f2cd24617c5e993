"""Who opens us, proven at the sandbox; installing; credentials."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from cryptography.fernet import Fernet

from b24app import clock
from b24app.bitrix import oauth
from b24app.bitrix.client import Answer, Command
from b24app.bitrix.errors import AccessLost, BitrixError, CredentialRefused, NotRun
from b24app.bitrix.payloads import read_opening
from b24app.models import Credential, Person, Portal, RestCall
from b24app.portals import clients, credentials, installation, openings, outgoing
from b24app.worker import messages

ASK = Command("list", "tasks.task.list")


@pytest.fixture
def bob(at_sandbox, db):
    number = at_sandbox.user("acme", name="Bob", last_name="Worker", zone="Europe/Berlin")
    at_sandbox.install("acme")
    return number


@pytest.fixture
def admin(at_sandbox, db):
    return at_sandbox.user("acme", name="Ann", last_name="Admin", is_admin=True)


def posted(opening, **changes):
    return read_opening(opening["query"], {**opening["fields"], **changes})


def nothing_is_stored():
    return not any(model.objects.exists() for model in (Portal, Person, Credential))


# -- Opening


def test_the_first_opening_brings_portal_person_and_credential_to_life(sandbox, bob):
    opened = openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    person = opened.person
    assert (person.user_id, person.name, person.zone, person.is_admin) == (bob, "Bob Worker", "Europe/Berlin", False)
    assert person.portal.endpoint == sandbox.url("acme", "rest/")
    assert isinstance(opened.answer, Answer)
    assert Credential.objects.get().version == 1


def test_a_known_portal_is_opened_in_one_round_trip_to_its_stored_address(sandbox, bob):
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    asked, proofs = len(sandbox.requests("acme")), len(sandbox.requests(None))
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert len(sandbox.requests("acme")) == asked + 1
    assert len(sandbox.requests(None)) == proofs
    assert Credential.objects.get().version == 2


def test_tokens_are_stored_sealed(sandbox, bob):
    opening = sandbox.open("acme", bob)
    openings.open_page(posted(opening), ASK)
    row = str(Credential.objects.values().get()) + str(Portal.objects.values().get())
    for secret in ("AUTH_ID", "REFRESH_ID", "APPLICATION_TOKEN"):
        assert opening["fields"][secret] not in row
    assert Credential.objects.get().access_token == opening["fields"]["AUTH_ID"]


def test_a_forged_token_opens_nothing_and_stores_nothing(sandbox, bob):
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    assert nothing_is_stored()


def test_a_forged_token_for_a_known_portal_changes_nothing(sandbox, bob):
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    before = str(Credential.objects.values().get()) + str(Person.objects.values().get())
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    assert str(Credential.objects.values().get()) + str(Person.objects.values().get()) == before


@pytest.mark.parametrize("known", [False, True])
def test_a_token_of_another_portal_opens_nothing(sandbox, bob, known):
    stranger = sandbox.user("umbrella", name="Eve")
    sandbox.install("umbrella")
    mine, theirs = sandbox.open("acme", bob), sandbox.open("umbrella", stranger)
    if known:
        openings.open_page(posted(mine), ASK)
    forged = posted(mine, AUTH_ID=theirs["fields"]["AUTH_ID"], REFRESH_ID=theirs["fields"]["REFRESH_ID"])
    with pytest.raises(openings.NotProven):
        openings.open_page(forged, ASK)
    assert Person.objects.count() == int(known)


def test_a_token_of_another_app_opens_nothing(sandbox, bob, settings):
    settings.B24_APP_CODE = "somebody.elses"
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert not Person.objects.exists()
    settings.B24_CLIENT_ID = "app.else"
    Portal.objects.all().delete()
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert nothing_is_stored()


def test_a_server_that_the_request_names_is_never_asked(sandbox, bob, httpserver):
    opening = posted(sandbox.open("acme", bob), SERVER_ENDPOINT=httpserver.url_for("/rest/"))
    openings.open_page(opening, ASK)
    assert httpserver.log == []
    assert Portal.objects.get().oauth_url == f"http://{sandbox.oauth}"


def test_a_portal_that_does_not_answer_in_time_stores_nothing(sandbox, bob):
    sandbox.fault("batch", "delay", seconds=1.0)
    with pytest.raises(BitrixError):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK, timeout=0.3)
    assert not Person.objects.exists()


def test_only_an_admins_opening_teaches_the_application_token(sandbox, bob, admin):
    openings.open_page(posted(sandbox.open("acme", bob), APPLICATION_TOKEN="a" * 32), ASK)
    portal = Portal.objects.get()
    assert not portal.knows_application_token("a" * 32, clock.now())
    opening = sandbox.open("acme", admin)
    openings.open_page(posted(opening), ASK)
    portal.refresh_from_db()
    assert portal.knows_application_token(opening["fields"]["APPLICATION_TOKEN"], clock.now())
    assert not portal.knows_application_token("", clock.now())


def test_a_replaced_application_token_is_known_for_one_more_day(sandbox, bob, admin):
    for token in ("a" * 32, "b" * 32):
        openings.open_page(posted(sandbox.open("acme", admin), APPLICATION_TOKEN=token), ASK)
    portal, now = Portal.objects.get(), clock.now()
    assert portal.knows_application_token("a" * 32, now)
    assert portal.knows_application_token("b" * 32, now + timedelta(days=2))
    assert not portal.knows_application_token("a" * 32, now + timedelta(days=2))


# -- Installing


@pytest.fixture
def installing(sandbox, admin):
    sandbox.install("acme", finished=False)
    return sandbox.open("acme", admin)


def bound(sandbox, opening):
    placements = sandbox.rest("acme", "placement.get", token=opening["access"]).json()["result"]
    events = sandbox.rest("acme", "event.get", token=opening["access"]).json()["result"]
    return sorted(row["placement"] for row in placements), [row["event"] for row in events]


def test_installing_binds_every_menu_entry_and_event_once_however_often_it_runs(sandbox, installing):
    for _ in range(3):
        person = installation.connect(posted(installing))
        installation.check_scope(person)
        installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])
    assert Portal.objects.count() == Person.objects.count() == 1


def test_menu_entries_have_titles_in_the_persons_language(sandbox, installing):
    installation.bind(installation.connect(posted(installing)))
    rows = sandbox.rest("acme", "placement.get", token=installing["access"]).json()["result"]
    assert {row["langAll"]["en"]["TITLE"] for row in rows} == {"Defer tasks"}
    assert all(row["langAll"]["ru"]["TITLE"] for row in rows)


def test_only_an_admin_installs(sandbox, admin):
    sandbox.install("acme", finished=False)
    bob = sandbox.user("acme", name="Bob")
    with pytest.raises(installation.NotAllowed, match="not_admin"):
        installation.connect(posted(sandbox.open("acme", bob)))
    assert nothing_is_stored()


def test_a_forged_installer_stores_nothing(sandbox, installing):
    with pytest.raises(openings.NotProven):
        installation.connect(posted(installing, AUTH_ID="f" * 70))
    assert nothing_is_stored()


def test_a_missing_scope_is_named(sandbox, admin):
    sandbox.install("acme", finished=False, scope="task,placement")
    person = installation.connect(posted(sandbox.open("acme", admin)))
    with pytest.raises(installation.NotAllowed) as refused:
        installation.check_scope(person)
    assert (refused.value.code, refused.value.detail) == ("scope", "im, user_brief")


def test_what_an_earlier_address_of_ours_left_is_replaced(sandbox, installing, settings):
    address = settings.PUBLIC_URL
    settings.PUBLIC_URL = "http://127.0.0.1:9999"
    person = installation.connect(posted(installing))
    installation.bind(person)
    settings.PUBLIC_URL = address
    installation.bind(person)
    rows = sandbox.rest("acme", "placement.get", token=installing["access"]).json()["result"]
    assert {row["handler"] for row in rows} == {f"{address}/placement/"}
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_two_admins_installing_at_once_bind_everything_once(sandbox, installing, admin, monkeypatch):
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


def test_what_is_bound_twice_is_bound_once_again(sandbox, installing):
    person = installation.connect(posted(installing))
    installation.bind(person)
    sandbox.turn({"trap.binding_twice_fails": False})
    address = sandbox.control("installation", portal="acme")["placements"][0]["handler"]
    twice = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": address}
    sandbox.rest("acme", "placement.bind", twice, token=installing["access"])
    assert bound(sandbox, installing)[0].count("TASK_VIEW_TAB") == 2
    installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


def test_each_opening_by_an_admin_repairs_what_somebody_unbound_and_costs_one_request_where_nothing_is_missing(
    sandbox, installing
):
    person = installation.connect(posted(installing))
    messages.check_bindings(person.pk)
    sandbox.rest("acme", "placement.unbind", {"PLACEMENT": "TASK_VIEW_TAB"}, token=installing["access"])
    messages.check_bindings(person.pk)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])
    asked = len(sandbox.requests("acme"))
    messages.check_bindings(person.pk)
    assert len(sandbox.requests("acme")) == asked + 1


def test_an_ordinary_persons_opening_leaves_the_bindings_alone(person):
    assert not installation.needs_bindings_checked(person)


def test_a_bind_that_fails_is_told_and_the_next_try_completes_it(sandbox, installing):
    person = installation.connect(posted(installing))
    sandbox.fault("placement.bind", "error", code="ERROR_CORE", status=400, skip=2)
    with pytest.raises(installation.NotAllowed, match="bind"):
        installation.bind(person)
    installation.bind(person)
    assert bound(sandbox, installing) == (sorted(installation.PLACEMENTS), ["ONAPPUNINSTALL"])


# -- Coming back


def test_a_proven_opening_after_an_uninstall_brings_the_portal_back(sandbox, bob):
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    Portal.objects.update(status=Portal.Status.SUSPENDED)
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert Portal.objects.get().status == Portal.Status.ACTIVE


# -- Credentials


def test_a_pair_for_somebody_else_is_not_taken(sandbox, person, monkeypatch):
    eve = sandbox.user("acme", name="Eve")
    theirs = sandbox.open("acme", eve)
    credentials.store_pair(person, oauth.TokenPair("x" * 20, theirs["fields"]["REFRESH_ID"], clock.now()), clock.now())
    with pytest.raises(CredentialRefused, match="foreign_answer"):
        credentials.usable(person, 0)
    assert Credential.objects.get().state == Credential.State.NEEDS_REOPEN


def test_a_token_that_is_still_good_is_used_as_it_is(sandbox, person):
    credentials.usable(person, 0)
    assert [r for r in sandbox.requests(None) if r["method"] == "oauth/token"] == []


def test_an_expired_token_is_renewed_for_a_page_and_the_question_asked_again(sandbox, person):
    sandbox.expire("acme")
    answer = clients.ask(person, lambda client: client.call("profile"))
    assert answer.result["ID"] == str(person.user_id)
    assert Credential.objects.get().version == 2


def test_an_app_that_was_removed_is_access_lost_and_not_a_forgery(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    sandbox.uninstall("acme")
    with pytest.raises(AccessLost) as lost:
        credentials.usable(person, 0)
    assert lost.value.code.upper() == "NOT_INSTALLED"


def reserve(person, times, share):
    for _ in range(times):
        outgoing.reserve_request(person.portal, share)


def test_our_own_bucket_stops_us_before_the_portal_does(sandbox, person):
    with pytest.raises(NotRun) as stopped:
        reserve(person, 60, outgoing.FULL_SHARE)
    assert 0 < stopped.value.delay < 1


def test_background_work_leaves_room_in_the_bucket_for_people(person):
    with pytest.raises(NotRun):
        reserve(person, 40, outgoing.BACKGROUND_SHARE)
    reserve(person, 1, outgoing.FULL_SHARE)


def reserve_elsewhere(person, times, ahead):
    """The same at a machine whose clock is ahead by so much."""
    with time_machine.travel(datetime.now(UTC) + ahead, tick=False):
        reserve(person, times, outgoing.FULL_SHARE)


def test_two_machines_whose_clocks_differ_do_not_drain_the_same_seconds_twice(person):
    for _ in range(20):
        reserve(person, 1, outgoing.FULL_SHARE)
        reserve_elsewhere(person, 1, timedelta(minutes=5))
    with pytest.raises(NotRun, match="own_limit"):
        reserve(person, 10, outgoing.FULL_SHARE)


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=-2)])
def test_a_machine_whose_clock_is_far_off_neither_fills_nor_empties_the_bucket_for_others(person, ahead):
    reserve(person, 30, outgoing.FULL_SHARE)
    reserve_elsewhere(person, 1, ahead)
    before = Portal.objects.get()
    assert before.bucket_level > 20
    Portal.objects.update(bucket_at=before.bucket_at - 5)
    reserve(person, 1, outgoing.FULL_SHARE)
    assert before.bucket_level - 11 < Portal.objects.get().bucket_level < before.bucket_level - 8


def test_a_refusal_by_the_portals_own_limit_fills_our_bucket(sandbox, person):
    sandbox.fault("profile", "error", code="QUERY_LIMIT_EXCEEDED", status=503)
    with pytest.raises(NotRun):
        clients.ask(person, lambda client: client.call("profile"))
    with pytest.raises(NotRun, match="own_limit"):
        reserve(person, 1, outgoing.FULL_SHARE)


def test_no_secret_stands_in_the_journal(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    before = [person.credential.access_token, person.credential.refresh_token]
    _, pair = credentials.usable(person, 0)
    text = json.dumps(list(RestCall.objects.values_list("method", "params", "outcome", "code")))
    for secret in [*before, pair.access, pair.refresh, sandbox.client_secret]:
        assert secret not in text


# -- Moving


@pytest.fixture
def rename(sandbox):
    """Give acme another address; it has the old one back after the test."""
    old = sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")

    def give():
        sandbox.control("rename", portal="acme", host=new)
        return new

    yield give
    sandbox.control("rename", portal="acme", host=old)
    sandbox.reset()


def test_a_renamed_portal_is_followed_to_where_the_authorization_server_says(person, rename):
    new = rename()
    answer = clients.ask(person, lambda client: client.call("profile"))
    assert answer.result["ID"] == str(person.user_id)
    assert Portal.objects.get().endpoint == f"http://{new}/rest/"


def test_a_redirect_to_a_foreign_host_gets_nothing(sandbox, person, httpserver):
    sandbox.fault(
        "profile", "respond", status=302, body="", headers={"Location": httpserver.url_for("/rest/profile")}, times=-1
    )
    before = Portal.objects.get().endpoint
    with pytest.raises(NotRun):
        clients.ask(person, lambda client: client.call("profile"))
    assert httpserver.log == []
    assert Portal.objects.get().endpoint == before


def test_an_opening_from_the_new_address_of_a_known_portal_is_proven(sandbox, person, rename):
    new = rename()
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert opened.person == person
    assert opened.person.portal.origin == f"http://{new}"


@pytest.mark.parametrize("old_address", ["http://no-such-portal.invalid/rest/", "http://127.0.0.1:1/rest/"])
def test_an_opening_heals_a_portal_whose_old_address_is_dead(sandbox, person, old_address):
    Portal.objects.update(endpoint=old_address)
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert opened.person == person
    assert opened.person.portal.endpoint == sandbox.url("acme", "rest/")


def test_an_opening_from_another_address_shows_its_token_to_the_new_one_only(sandbox, person, httpserver):
    Portal.objects.update(endpoint=httpserver.url_for("/rest/").replace("localhost", "127.0.0.1"))
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert httpserver.log == []
    assert opened.person.portal.endpoint == sandbox.url("acme", "rest/")


def test_the_authorization_server_that_knew_the_token_is_kept(sandbox, bob, settings, httpserver):
    httpserver.expect_request("/rest/app.info").respond_with_json({"error": "invalid_token"}, status=401)
    settings.B24_OAUTH_URLS = [httpserver.url_for("").rstrip("/"), *settings.B24_OAUTH_URLS]
    opened = openings.open_page(posted(sandbox.open("acme", bob), SERVER_ENDPOINT=""), ASK)
    assert len(httpserver.log) == 1
    assert opened.person.portal.oauth_url == f"http://{sandbox.oauth}"


# -- A lost key


@pytest.fixture
def key_is_lost(settings):
    """All that was sealed so far can be opened no more."""

    def lose():
        settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    return lose


def test_after_a_lost_key_an_admin_opens_the_app_and_all_is_well_again(sandbox, installing, key_is_lost):
    person = installation.connect(posted(installing))
    key_is_lost()
    with pytest.raises(CredentialRefused, match="unreadable"):
        clients.ask(person, lambda client: client.call("profile"))
    installation.connect(posted(sandbox.open("acme", person.user_id)))
    assert clients.ask(person, lambda client: client.call("profile"))
    token = installing["fields"]["APPLICATION_TOKEN"]
    assert Portal.objects.get().knows_application_token(token, clock.now())


def test_a_pair_that_cannot_be_unsealed_is_not_renewed(person, key_is_lost):
    key_is_lost()
    with pytest.raises(CredentialRefused, match="unreadable"):
        credentials.renew_now(person.credential)


# -- The journal of all this


def journaled():
    return list(RestCall.objects.order_by("pk").values_list("method", "code"))


def test_every_exchange_of_an_installation_is_journaled(sandbox, installing):
    installation.check_scope(installation.connect(posted(installing)))
    assert journaled() == [("oauth/app.info", ""), ("profile", ""), ("oauth/app.info", "")]
    assert installing["fields"]["AUTH_ID"] not in str(list(RestCall.objects.values()))


def test_a_proof_that_failed_is_journaled_with_its_code(sandbox, bob):
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    ((method, code),) = journaled()
    assert method == "oauth/app.info"
    assert code


def test_the_journal_has_the_status_and_the_id_of_what_authorization_servers_answered(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    credentials.usable(person, 0)
    sandbox.fault("oauth/token", "respond", status=502, body="<html>", type="text/html")
    Credential.objects.update(expires_at=clock.now())
    with pytest.raises(NotRun):
        credentials.usable(person, 0)
    found = RestCall.objects.filter(method="oauth/token").order_by("pk")
    assert [call.status for call in found] == [200, 502]
    assert len({call.request_id for call in found} - {None}) == 2


def test_asking_where_a_portal_has_moved_to_is_journaled(person, rename):
    rename()
    RestCall.objects.all().delete()
    clients.ask(person, lambda client: client.call("profile"))
    assert journaled() == [("profile", "moved"), ("oauth/app.info", ""), ("profile", "")]
