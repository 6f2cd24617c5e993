"""Openings from old on-premise portals, new placements and unknown senders."""

import pytest

ODD = [
    {"a[b][]": "1", "SOMETHING_NEW": "x" * 5000, "\u0444": "\u0000"},
    {"PLACEMENT": "X" * 500, "PLACEMENT_OPTIONS": "undefined", "SERVER_ENDPOINT": "no address", "status": ""},
    {"PLACEMENT_OPTIONS": '{"ID": {"a": [1]}, "USER_ID": "x", "any": null}', "AUTH_EXPIRES": "soon"},
]


@pytest.mark.parametrize("fields", ODD)
def test_broken_fields_break_no_opening(bob, tasks, fields):
    tasks(title="Call the supplier")
    opening = bob.opening()
    page = bob.post_opening("/placement/", {**opening, "fields": opening["fields"] | fields})
    assert page.status_code == 200
    assert "Call the supplier" in page.text


def test_an_old_box_opens_its_list(sandbox, bob, tasks):
    sandbox.turn({"acme/old_post": True, "acme/no_new_tasks": True})
    tasks(title="Call the supplier")
    assert "Call the supplier" in bob.open().text
    assert "Call the supplier" in bob.open().text
    assert "Call the supplier" in bob.get("/tasks/", {"title": "supplier", "sort": "DEADLINE"}).text
