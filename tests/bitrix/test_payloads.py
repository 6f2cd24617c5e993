"""What a browser or a portal posts to the app."""

import pytest

from b24app.bitrix import payloads
from b24app.bitrix.payloads import BadPayload
from tests.bitrix.conftest import PAYLOADS


def opening(name, **changes):
    saved = PAYLOADS[name]
    return payloads.read_opening(saved["query"], {**saved["fields"], **changes})


def test_an_opening_names_its_place():
    user_list = opening("post_user_list_toolbar")
    assert (user_list.placement, user_list.owner_id, user_list.project_id) == ("TASK_USER_LIST_TOOLBAR", 1, None)
    assert opening("post_group_list_toolbar").project_id == 11
    assert opening("post_row_menu").task_id == 31
    assert opening("post_task_card").task_id == 31


def test_old_boxes_lack_newer_fields():
    old = opening("post_old_box")
    assert (old.server_endpoint, old.application_token, old.options) == ("", "", {})
    assert old.portal_origin == "http://acme.bitrix24.com"


def test_tokens_are_not_in_a_repr():
    text = repr(opening("post_installer"))
    for name in ("AUTH_ID", "REFRESH_ID", "APPLICATION_TOKEN"):
        assert PAYLOADS["post_installer"]["fields"][name] not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"AUTH_ID": ""},
        {"AUTH_ID": "a b"},
        {"AUTH_ID": "x" * 300},
        {"REFRESH_ID": "<script>"},
        {"member_id": "../../etc"},
        {"member_id": ""},
    ],
)
def test_an_opening_needs_its_proof(changes):
    with pytest.raises(BadPayload):
        opening("post_installer", **changes)


@pytest.mark.parametrize(
    "options", ["undefined", "[]", "null", "1", '{"ID": {"a": 1}}', '{"ID": "-1"}', '{"ID": "٣"}', "{" * 5000]
)
def test_junk_options_are_no_options(options):
    junk = opening("post_row_menu", PLACEMENT_OPTIONS=options)
    assert junk.task_id is None


def test_a_strange_domain_is_no_domain():
    saved = PAYLOADS["post_installer"]
    strange = payloads.read_opening({**saved["query"], "DOMAIN": "evil.example/x?@h"}, saved["fields"])
    assert strange.portal_origin == ""


def test_an_uninstall_event_is_read():
    event = payloads.read_event(PAYLOADS["event_uninstall"]["fields"])
    assert event.name == "ONAPPUNINSTALL"
    assert event.member_id == "a223c6b3710f85df22e9377d6c4f7553"
    assert event.application_token == "51856fefc120afa4b628cc82d3935cce"
    assert event.data == {"LANGUAGE_ID": "en", "CLEAN": "1"}


def test_an_event_needs_a_portal():
    with pytest.raises(BadPayload):
        payloads.read_event({"event": "ONAPPUNINSTALL"})
