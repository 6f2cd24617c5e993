"""Calls for a page: an expired token is renewed, and a portal that has moved is found again."""

import pytest

from b24app.bitrix.errors import NotRun
from b24app.models import Credential, Portal, RestCall
from b24app.portals import clients
from tests.portals.conftest import journaled


def test_an_expired_token_is_renewed_once(sandbox, person):
    sandbox.expire("acme")
    answer = clients.ask(person, lambda client: client.call("profile"))
    assert answer.result["ID"] == str(person.user_id)
    assert Credential.objects.get().version == 2


def test_a_renamed_portal_is_followed(person, rename):
    new = rename()
    answer = clients.ask(person, lambda client: client.call("profile"))
    assert answer.result["ID"] == str(person.user_id)
    assert Portal.objects.get().endpoint == f"http://{new}/rest/"


def test_a_foreign_redirect_gets_nothing(sandbox, person, httpserver):
    sandbox.fault(
        "profile", "respond", status=302, body="", headers={"Location": httpserver.url_for("/rest/profile")}, times=-1
    )
    before = Portal.objects.get().endpoint
    with pytest.raises(NotRun):
        clients.ask(person, lambda client: client.call("profile"))
    assert httpserver.log == []
    assert Portal.objects.get().endpoint == before


def test_following_a_move_is_journaled(person, rename):
    rename()
    RestCall.objects.all().delete()
    clients.ask(person, lambda client: client.call("profile"))
    assert journaled() == [("profile", "moved"), ("oauth/app.info", ""), ("profile", "")]
