"""The page under the hood: the logs, live and without secrets."""

import json

import pytest


def news(acme, **query):
    return acme.sandbox.session.get(acme.sandbox.url("acme", "control/news/"), params=query, timeout=10)


def test_every_host_has_the_page(acme):
    for host in (*acme.sandbox.portals.values(), acme.sandbox.oauth):
        answer = acme.sandbox.session.get(f"http://{host}/control/")
        assert answer.status_code == 200
        assert "Under the hood" in answer.text
        for name in ("watch.js", "watch.css"):
            assert name in answer.text
            assert acme.sandbox.session.get(f"http://{host}/control/static/{name}").status_code == 200


def test_the_desktop_links_to_it(acme):
    page = acme.sandbox.session.get(acme.sandbox.url("acme"), cookies={"desk_acme": str(acme.bob)})
    assert '<a class="hood" href="/control/">Under the hood</a>' in page.text


def test_a_batch_shows_its_commands(acme):
    task = acme.sandbox.task("acme", creator=acme.bob)
    commands = {"one": f"tasks.task.defer?taskId={task}", "none": "tasks.task.defer?taskId=999"}
    acme.sandbox.batch("acme", commands, acme.token)
    found = news(acme, portal="acme").json()
    request = found["requests"][0]
    assert (request["method"], request["person"], request["status"]) == ("batch", f"Bob Worker ({acme.bob})", 200)
    assert request["commands"] == [
        ["one", "tasks.task.defer", {"taskId": str(task)}, ""],
        ["none", "tasks.task.defer", {"taskId": "999"}, "1048582"],
    ]
    change = found["changes"][0]
    assert (change["task"], change["before"], change["after"]) == (task, "Pending", "Deferred")
    assert (change["request"], change["token"]) == (request["id"], request["token"])


def test_tokens_show_no_secrets(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    inner = f"profile?auth={opening['access']}"
    acme.sandbox.batch("acme", [inner], opening["access"])
    pair = acme.sandbox.refresh(opening["refresh"]).json()
    answer = news(acme)
    rows = {row["id"]: row for row in answer.json()["tokens"]}
    assert rows[opening["token"]]["state"] == "spent"
    assert rows[opening["token"] + 1]["state"] == "good"
    assert rows[opening["token"]]["chain"] == rows[opening["token"] + 1]["chain"]
    secrets = [opening["access"], opening["refresh"], pair["access_token"], pair["refresh_token"]]
    assert [secret for secret in [*secrets, acme.sandbox.client_secret] if secret in answer.text] == []


def test_the_page_can_show_one_portal(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.refresh(opening["refresh"])
    acme.sandbox.rest("umbrella", "profile")
    acme.sandbox.rest("acme", "profile")
    seen = {key: [row["method"] for row in news(acme, portal=key).json()["requests"]] for key in ("acme", "oauth", "")}
    assert seen == {"acme": ["profile"], "oauth": ["oauth/token"], "": ["profile", "profile", "oauth/token"]}


def test_limits_are_shown(acme):
    acme.sandbox.turn({"cost.profile": 3, "cost.sleep": 0})
    acme.sandbox.rest("acme", "profile", token=acme.token)
    for _ in range(9):  # the bucket drains two per second
        acme.sandbox.rest("acme", "scope", token=acme.token)
    found = news(acme, portal="acme").json()
    [bucket] = found["buckets"]
    assert (bucket["address"], bucket["size"], bucket["drain"]) == ("127.0.0.1", 50, 2)
    assert bucket["level"] > 0
    [spent] = found["operating"]
    assert (spent["method"], spent["spent"]) == ("profile", pytest.approx(3, abs=0.2))


def test_unchanged_news_are_not_sent(acme):
    stamp = news(acme, portal="umbrella").json()["stamp"]
    assert news(acme, portal="umbrella", seen=stamp).status_code == 204
    acme.sandbox.rest("umbrella", "profile")
    assert news(acme, portal="umbrella", seen=stamp).status_code == 200


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_updates_live(acme, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(acme.sandbox.url("acme", "control/"))
    assert page.get_by_label("Portal").input_value() == "acme"
    task = acme.sandbox.task("acme", creator=acme.bob)
    acme.sandbox.batch("acme", {"a": f"tasks.task.defer?taskId={task}", "b": "tasks.task.pause?taskId=999"}, acme.token)
    row = page.locator("#requests details", has_text="2 commands, 1 failed")
    row.locator("summary").click()
    row.get_by_text("1048582").wait_for()
    assert page.locator("#changes").get_by_text("Pending → Deferred").is_visible()
    acme.sandbox.rest("acme", "profile", token=acme.token)
    page.locator("#requests details", has_text="profile").wait_for()
    assert row.get_by_text("1048582").is_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert json.loads(row.locator("pre").inner_text())["halt"] == 0
