"""Token pairs: renewed if necessary, and given up if the server rejects them."""

import pytest

from b24app import clock
from b24app.bitrix import oauth
from b24app.bitrix.errors import AccessLost, CredentialRefused, NotRun
from b24app.models import Credential, RestCall
from b24app.portals import credentials


def test_a_foreign_pair_is_not_taken(sandbox, person, monkeypatch):
    eve = sandbox.user("acme", name="Eve")
    theirs = sandbox.open("acme", eve)
    credentials.store_pair(person, oauth.TokenPair("x" * 20, theirs["fields"]["REFRESH_ID"], clock.now()), clock.now())
    with pytest.raises(CredentialRefused, match="foreign_answer"):
        credentials.usable(person, 0)
    assert Credential.objects.get().state == Credential.State.NEEDS_REOPEN


def test_a_valid_token_is_not_renewed(sandbox, person):
    credentials.usable(person, 0)
    assert [r for r in sandbox.requests(None) if r["method"] == "oauth/token"] == []


def test_an_uninstalled_app_is_access_lost(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    sandbox.uninstall("acme")
    with pytest.raises(AccessLost) as lost:
        credentials.usable(person, 0)
    assert lost.value.code.upper() == "NOT_INSTALLED"


def test_an_unreadable_pair_is_not_renewed(person, lose_key):
    lose_key()
    with pytest.raises(CredentialRefused, match="unreadable"):
        credentials.renew_now(person.credential)


def test_refreshes_are_journaled(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    credentials.usable(person, 0)
    sandbox.fault("oauth/token", "respond", status=502, body="<html>", type="text/html")
    Credential.objects.update(expires_at=clock.now())
    with pytest.raises(NotRun):
        credentials.usable(person, 0)
    found = RestCall.objects.filter(method="oauth/token").order_by("pk")
    assert [call.status for call in found] == [200, 502]
    assert len({call.request_id for call in found} - {None}) == 2


def test_an_unknown_refusal_releases_the_claim(person, monkeypatch):
    def refuse(*args):
        raise oauth._refusal("E_NEW")

    Credential.objects.update(expires_at=clock.now())
    monkeypatch.setattr(oauth, "refresh", refuse)
    with pytest.raises(NotRun, match="E_NEW"):
        credentials.usable(person, 0)
    credential = Credential.objects.get()
    assert (credential.state, credential.refreshing_until) == (Credential.State.USABLE, None)
