"""Openings: who opened the app and at which portal, proven at the sandbox."""

from dataclasses import replace
from datetime import timedelta

import pytest

from b24app import clock
from b24app.bitrix.client import Answer
from b24app.bitrix.errors import BitrixError, Unknown
from b24app.models import Credential, Person, Portal
from b24app.portals import openings, people
from tests.portals.conftest import ASK, journaled, nothing_is_stored, posted


def test_a_first_opening_stores_the_person(sandbox, bob):
    opened = openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    person = opened.person
    assert (person.user_id, person.name, person.zone, person.is_admin) == (bob, "Bob Worker", "Europe/Berlin", False)
    assert person.portal.endpoint == sandbox.url("acme", "rest/")
    assert isinstance(opened.answer, Answer)
    assert Credential.objects.get().version == 1


def test_a_known_portal_costs_one_request(sandbox, bob):
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


def test_a_forged_token_stores_nothing(sandbox, bob):
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    assert nothing_is_stored()


def test_a_forged_token_changes_nothing(sandbox, bob):
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    before = str(Credential.objects.values().get()) + str(Person.objects.values().get())
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    assert str(Credential.objects.values().get()) + str(Person.objects.values().get()) == before


@pytest.mark.parametrize("known", [False, True])
def test_another_portals_token_is_rejected(sandbox, bob, known):
    stranger = sandbox.user("umbrella", name="Eve")
    sandbox.install("umbrella")
    mine, theirs = sandbox.open("acme", bob), sandbox.open("umbrella", stranger)
    if known:
        openings.open_page(posted(mine), ASK)
    forged = posted(mine, AUTH_ID=theirs["fields"]["AUTH_ID"], REFRESH_ID=theirs["fields"]["REFRESH_ID"])
    with pytest.raises(openings.NotProven):
        openings.open_page(forged, ASK)
    assert Person.objects.count() == int(known)


def test_another_apps_token_is_rejected(sandbox, bob, settings):
    settings.B24_APP_CODE = "somebody.elses"
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert not Person.objects.exists()
    settings.B24_CLIENT_ID = "app.else"
    Portal.objects.all().delete()
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert nothing_is_stored()


def test_an_unlisted_server_is_never_asked(sandbox, bob, httpserver):
    opening = posted(sandbox.open("acme", bob), SERVER_ENDPOINT=httpserver.url_for("/rest/"))
    openings.open_page(opening, ASK)
    assert httpserver.log == []
    assert Portal.objects.get().oauth_url == f"http://{sandbox.oauth}"


def test_a_late_answer_stores_nothing(sandbox, bob):
    sandbox.fault("batch", "delay", seconds=1.0)
    with pytest.raises(BitrixError):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK, timeout=0.3)
    assert not Person.objects.exists()


def test_only_an_admin_brings_the_token(sandbox, bob, ann):
    openings.open_page(posted(sandbox.open("acme", bob), APPLICATION_TOKEN="a" * 32), ASK)
    portal = Portal.objects.get()
    assert not portal.knows_application_token("a" * 32, clock.now())
    opening = sandbox.open("acme", ann)
    openings.open_page(posted(opening), ASK)
    portal.refresh_from_db()
    assert portal.knows_application_token(opening["fields"]["APPLICATION_TOKEN"], clock.now())
    assert not portal.knows_application_token("", clock.now())


def test_a_replaced_token_lasts_a_day(sandbox, bob, ann):
    for token in ("a" * 32, "b" * 32):
        openings.open_page(posted(sandbox.open("acme", ann), APPLICATION_TOKEN=token), ASK)
    portal, now = Portal.objects.get(), clock.now()
    assert portal.knows_application_token("a" * 32, now)
    assert portal.knows_application_token("b" * 32, now + timedelta(days=2))
    assert not portal.knows_application_token("a" * 32, now + timedelta(days=2))


def test_an_opening_reactivates_a_portal(sandbox, bob):
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    Portal.objects.update(status=Portal.Status.SUSPENDED)
    openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert Portal.objects.get().status == Portal.Status.ACTIVE


def test_an_opening_brings_a_new_address(sandbox, person, rename):
    new = rename()
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert opened.person == person
    assert opened.person.portal.origin == f"http://{new}"


@pytest.mark.parametrize("old_address", ["http://no-such-portal.invalid/rest/", "http://127.0.0.1:1/rest/"])
def test_an_opening_heals_a_dead_address(sandbox, person, old_address):
    Portal.objects.update(endpoint=old_address)
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert opened.person == person
    assert opened.person.portal.endpoint == sandbox.url("acme", "rest/")


def test_the_old_address_gets_no_token(sandbox, person, httpserver):
    Portal.objects.update(endpoint=httpserver.url_for("/rest/").replace("localhost", "127.0.0.1"))
    opened = openings.open_page(posted(sandbox.open("acme", person.user_id)), ASK)
    assert httpserver.log == []
    assert opened.person.portal.endpoint == sandbox.url("acme", "rest/")


def test_the_server_that_answered_is_kept(sandbox, bob, settings, httpserver):
    httpserver.expect_request("/rest/app.info").respond_with_json({"error": "invalid_token"}, status=401)
    settings.B24_OAUTH_URLS = [httpserver.url_for("").rstrip("/"), *settings.B24_OAUTH_URLS]
    opened = openings.open_page(posted(sandbox.open("acme", bob), SERVER_ENDPOINT=""), ASK)
    assert len(httpserver.log) == 1
    assert opened.person.portal.oauth_url == f"http://{sandbox.oauth}"


def test_a_failed_proof_is_journaled(sandbox, bob):
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob), AUTH_ID="f" * 70), ASK)
    ((method, code),) = journaled()
    assert method == "oauth/app.info"
    assert code


@pytest.mark.parametrize(
    "endpoint",
    [
        *(
            "https://evil.example; script-src *; x/rest/",
            "https://*/rest/",
            "https://[/rest/",
            "https://a\n.example/rest/",
        ),
        *("https://" + "a" * 300 + "/rest/", "http://10.0.0.1/", ""),
    ],
)
def test_an_odd_address_proves_nothing(sandbox, bob, monkeypatch, endpoint):
    ask = openings.credentials.token_info
    monkeypatch.setattr(openings.credentials, "token_info", lambda *args: replace(ask(*args), endpoint=endpoint))
    with pytest.raises(openings.NotProven):
        openings.open_page(posted(sandbox.open("acme", bob)), ASK)
    assert nothing_is_stored()


@pytest.mark.parametrize("user_id", ["\u00b2", "9" * 30, "9" * 5000, "0", -5, None, [5]])
def test_an_odd_user_id_opens_nothing(user_id):
    with pytest.raises(Unknown):
        people.read_profile({"ID": user_id, "NAME": "Bob"})


def test_a_profile_is_cleaned():
    profile = people.read_profile({"ID": "5", "NAME": "B\0ob" + "x" * 500, "TIME_ZONE": "Europe/\0Berlin" + "x" * 99})
    assert (profile.name, profile.zone) == ("Bob" + "x" * 197, "Europe/Berlin" + "x" * 37)
