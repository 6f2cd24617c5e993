"""The desktop over plain HTTP: the pages of each person, the Market, and what an opening posts."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox_client import Sandbox

ADMIN, BOSS, WORKER, EDITOR, OUTSIDER = 1, 3, 5, 8, 12
CODE = "example.defer"
TITLES = {"LANG_ALL": {"en": {"TITLE": "Defer in bulk"}, "ru": {"TITLE": "Отложить задачи"}}}


class Person(requests.Session):
    """A browser without scripts, at the desktop of one portal, as one person."""

    def __init__(self, sandbox: Sandbox, number: int, portal: str = "acme"):
        super().__init__()
        self.root = f"http://{sandbox.portals[portal]}"
        self.cookies.set(f"desk_{portal}", str(number))

    def request(self, method, path, **kwargs):
        return super().request(method, self.root + path, timeout=10, **kwargs)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def frame(self, installation: int, **wish):
        return self.post("/desktop/frame/", json={"installation": installation, **wish})


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    sandbox = Sandbox.start(tmp_path_factory.mktemp("desktop"), ("acme", "umbrella", "oldbox"), seed="demo")
    sandbox.settings(limits__bucket=False)  # other tests cover it
    yield sandbox
    sandbox.stop()


@pytest.fixture
def as_person(box):
    people = []

    def sit_down(number: int, portal: str = "acme") -> Person:
        people.append(Person(box, number, portal))
        return people[-1]

    yield sit_down
    for person in people:
        person.close()


@pytest.fixture
def installed(box, as_person):
    """The id of the finished installation at acme, with its menu items. The app is removed afterwards."""
    box.install("acme")
    bind(box, "TASK_USER_LIST_TOOLBAR")
    bind(box, "TASK_GROUP_LIST_TOOLBAR")
    bind(box, "TASK_LIST_CONTEXT_MENU")
    bind(box, "REST_APP_URI")
    yield installation_of(as_person(ADMIN))
    box.uninstall("acme")


def bind(box: Sandbox, placement: str, **more) -> None:
    params = {"PLACEMENT": placement, "HANDLER": "http://127.0.0.1:8000/placement/", **TITLES, **more}
    answer = box.rest("acme", "placement.bind", params, token=box.access("acme", ADMIN))
    assert answer.json()["result"] is True, answer.text


def installation_of(person: Person) -> int:
    return int(re.search(r'data-app-page="(\d+)"', person.page(f"/marketplace/app/{CODE}/")).group(1))


def placements_on(html: str) -> dict[str, tuple[int, dict]]:
    """The menu items of apps on a page: title -> (placement row, options)."""
    pattern = r'data-open-app="\d+"\s+data-placement="(\d+)"\s+data-options="([^"]*)">([^<]*)<'
    found = re.findall(pattern, html)
    return {title: (int(row), json.loads(options.replace("&quot;", '"'))) for row, options, title in found}


def toolbar_of(html: str) -> str:
    return re.search(r'class="menu toolbar".*?</details>', html, re.DOTALL).group()


def test_a_new_visitor_chooses_a_person(as_person):
    person = as_person(999)
    for path in ("/", "/company/personal/user/5/tasks/", "/marketplace/"):
        assert "Who are you today?" in person.page(path)


def test_a_chosen_person_sees_their_tasks(as_person):
    browser = as_person(999)
    answer = browser.post("/desktop/become/", data={"number": WORKER})
    assert answer.url.endswith("/company/personal/user/5/tasks/")
    assert "My tasks" in answer.text


def test_the_demo_lists_130_tasks_in_progress(box, installed):
    def total(user: int, **condition) -> int:
        answer = box.rest("acme", "tasks.task.list", {"filter": condition}, token=box.access("acme", user))
        return int(answer.json()["total"])

    assert total(ADMIN) == 240
    assert total(WORKER, REAL_STATUS=3, MEMBER=WORKER) == 130


def test_numbers_differ_between_portals(as_person):
    names = {"acme": "Jonas Weber", "umbrella": "Liam Byrne", "oldbox": "Мария Ершова"}
    pages = []
    for portal, name in names.items():
        pages.append(as_person(WORKER, portal).page("/company/personal/user/5/tasks/?preset=all"))
        assert name in pages[-1]
    rows = [re.findall(r"/task/view/(\d+)/\" data-slider>([^<]{20,})<", page) for page in pages]
    common = set(dict(rows[1])) & set(dict(rows[2]))
    assert common
    assert all(dict(rows[1])[number] != dict(rows[2])[number] for number in common)


@pytest.mark.parametrize("number", [ADMIN, BOSS, WORKER, EDITOR, OUTSIDER])
def test_every_page_works_for_everyone(as_person, number):
    person = as_person(number)
    tasks = person.page(f"/company/personal/user/{number}/tasks/?preset=all")
    card = re.search(r'href="(/company/personal/user/\d+/tasks/task/view/(\d+)/)"', tasks)
    for path in ("/workgroups/", "/workgroups/group/11/tasks/", "/marketplace/", card.group(1)):
        person.page(path)
    person.page(f"/workgroups/group/11/tasks/task/view/{card.group(2)}/?IFRAME=Y&IFRAME_TYPE=SIDE_SLIDER")


def test_a_page_in_a_slider_has_no_menu(as_person):
    worker = as_person(WORKER)
    assert '<nav class="left">' in worker.page("/workgroups/")
    assert '<nav class="left">' not in worker.page("/workgroups/?IFRAME=Y")


def test_an_unreadable_task_is_not_shown(box, as_person):
    secret = box.task("acme", title="Salary talks", creator=ADMIN, responsible=ADMIN)
    path = f"/company/personal/user/{WORKER}/tasks/task/view/{secret}/"
    assert "Salary talks" in as_person(ADMIN).page(path)
    assert "Salary talks" not in as_person(WORKER).page(path)
    box.change_task("acme", secret, delete=True)


def test_a_change_by_hand_is_shown_and_logged(box, as_person):
    task = box.task("acme", title="Paint the fence", creator=WORKER, responsible=WORKER, status=3)
    worker, path = as_person(WORKER), f"/company/personal/user/{WORKER}/tasks/task/view/{task}/"
    card = worker.post(f"/desktop/tasks/{task}/pause/", data={"back": path}).text
    assert "In progress → <b>Pending</b> · Jonas Weber" in card
    assert box.states("acme", [task]) == {task: 2}
    assert [(row["before"], row["after"]) for row in box.truth("acme") if row["task"] == task] == [(3, 2)]
    box.change_task("acme", task, delete=True)


def test_the_rules_apply_to_people_too(box, as_person):
    task = box.task("acme", title="Paint the gate", creator=WORKER, responsible=WORKER, status=3)
    path = f"/company/personal/user/{WORKER}/tasks/task/view/{task}/"
    card = as_person(WORKER).post(f"/desktop/tasks/{task}/defer/", data={"back": path}).text
    assert "Action on the task is not allowed" in card
    assert box.states("acme", [task]) == {task: 3}
    box.change_task("acme", task, delete=True)


def test_a_form_never_leaves_the_host(as_person):
    answer = as_person(WORKER).post(
        "/desktop/language/", data={"language": "en", "back": "//evil.example/x"}, allow_redirects=False
    )
    assert urlsplit(answer.headers["Location"]).netloc == ""
    assert not answer.headers["Location"].startswith("//")


def test_only_an_administrator_installs(box, as_person):
    worker, admin = as_person(WORKER), as_person(ADMIN)
    assert "Please ask your administrator" in worker.page("/marketplace/")
    assert worker.post(f"/marketplace/app/{CODE}/install/").status_code == 403
    assert admin.post(f"/marketplace/app/{CODE}/install/").status_code == 200
    assert worker.post(f"/marketplace/app/{CODE}/uninstall/").status_code == 403
    assert "Not installed" in admin.post(f"/marketplace/app/{CODE}/uninstall/", data={"clean": "1"}).text


def test_only_an_administrator_sees_the_setup(box, as_person):
    box.install("acme", finished=False)
    admin, worker = as_person(ADMIN), as_person(WORKER)
    installation = installation_of(admin)

    opening = admin.frame(installation).json()
    assert urlsplit(opening["url"]).path == "/install/"
    assert dict(opening["fields"])["PLACEMENT"] == "DEFAULT"
    assert opening["init"]["INSTALL"] is True

    sentence = worker.page(f"/marketplace/app/{CODE}/")
    assert "installation is not finished" in sentence
    assert "data-app-page" not in sentence
    assert worker.frame(installation).status_code == 403
    assert worker.post("/desktop/frame/finish/", json={"installation": installation}).status_code == 403

    assert admin.post("/desktop/frame/finish/", json={"installation": installation}).status_code == 200
    opening = worker.frame(installation).json()
    assert urlsplit(opening["url"]).path == "/"
    assert opening["init"]["INSTALL"] is False
    box.uninstall("acme")


def test_placements_appear_after_the_setup(box, as_person):
    box.install("acme", finished=False)
    bind(box, "TASK_USER_LIST_TOOLBAR")
    worker, admin = as_person(WORKER), as_person(ADMIN)
    path = f"/company/personal/user/{WORKER}/tasks/"
    assert placements_on(worker.page(path)) == {}

    admin.post("/desktop/frame/finish/", json={"installation": installation_of(admin)})
    assert list(placements_on(worker.page(path))) == ["Defer in bulk"]
    assert list(placements_on(as_person(BOSS).page(path))) == ["Отложить задачи"]
    worker.post("/desktop/language/", data={"language": "ru", "back": path})
    assert list(placements_on(worker.page(path))) == ["Отложить задачи"]
    worker.post("/desktop/language/", data={"language": "en", "back": path})
    box.uninstall("acme")


def test_the_frame_posts_what_a_portal_posts(box, as_person, installed):
    worker = as_person(WORKER)
    [(row, options)] = placements_on(toolbar_of(worker.page("/company/personal/user/5/tasks/"))).values()
    opening = worker.frame(installed, placement=row, options=options).json()

    url = urlsplit(opening["url"])
    query = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "http://127.0.0.1:8000/placement/"
    assert list(query) == ["DOMAIN", "PROTOCOL", "LANG", "APP_SID"]
    assert query["DOMAIN"] == [box.portals["acme"]]
    assert query["PROTOCOL"] == ["0"]
    assert query["LANG"] == ["en"]
    assert re.fullmatch("[0-9a-f]{32}", query["APP_SID"][0])
    assert opening["frame"] == f"{box.portals['acme']}|0|{query['APP_SID'][0]}"

    fields = dict(opening["fields"])
    assert [name for name, value in opening["fields"]] == [
        "AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID", "SERVER_ENDPOINT", "APPLICATION_TOKEN", "APPLICATION_SCOPE",
        "member_id", "status", "PLACEMENT", "PLACEMENT_OPTIONS",
    ]  # fmt: skip
    assert all(isinstance(value, str) for value in fields.values())
    assert fields["AUTH_EXPIRES"] == "3600"
    assert fields["SERVER_ENDPOINT"] == f"http://{box.oauth}/rest/"
    assert fields["status"] == "F"
    assert fields["PLACEMENT"] == "TASK_USER_LIST_TOOLBAR"
    assert fields["PLACEMENT_OPTIONS"] == r'{"USER_ID":"5","URI":"\/company\/personal\/user\/5\/tasks\/"}'


@pytest.mark.parametrize(
    "path, options",
    [
        ("/company/personal/user/5/tasks/", {"USER_ID": "5", "URI": "/company/personal/user/5/tasks/"}),
        ("/workgroups/group/11/tasks/", {"GROUP_ID": "11", "URI": "/workgroups/group/11/tasks/"}),
    ],
)
def test_a_list_sends_its_owner_and_address(as_person, installed, path, options):
    [(_, found)] = placements_on(toolbar_of(as_person(WORKER).page(path))).values()
    assert found == options


@pytest.mark.parametrize("path", ["/company/personal/user/5/tasks/", "/workgroups/group/11/tasks/"])
def test_the_row_menu_sends_its_task(as_person, installed, path):
    row = re.search(r'<tr data-task="(\d+)">.*?</tr>', as_person(WORKER).page(path), re.DOTALL)
    [(_, options)] = placements_on(row.group()).values()
    assert options == {"ID": row.group(1), "URI": path}


def test_a_card_tab_respects_its_projects(box, as_person, installed):
    bind(box, "TASK_VIEW_TAB", OPTIONS={"groupId": "11"})
    inside = box.task("acme", title="Inside", creator=WORKER, responsible=WORKER, project=11)
    outside = box.task("acme", title="Outside", creator=WORKER, responsible=WORKER)
    worker, path = as_person(WORKER), f"/company/personal/user/{WORKER}/tasks/task/view/"
    tab = re.search(r'data-tab-app="\d+"[^>]*data-options="([^"]*)"', worker.page(f"{path}{inside}/")).group(1)
    assert json.loads(tab.replace("&quot;", '"')) == {"taskId": str(inside), "URI": f"{path}{inside}/"}
    assert "data-tab-app" not in worker.page(f"{path}{outside}/")
    for task in (inside, outside):
        box.change_task("acme", task, delete=True)


def test_an_app_may_have_two_menu_entries(box, as_person, installed):
    second = {
        "HANDLER": "http://127.0.0.1:8000/second/",
        "LANG_ALL": {"en": {"TITLE": "Defer, the other way"}},
    }
    bind(box, "TASK_USER_LIST_TOOLBAR", **second)
    worker = as_person(WORKER)
    entries = placements_on(toolbar_of(worker.page("/company/personal/user/5/tasks/")))
    opened = {
        title: urlsplit(worker.frame(installed, placement=row, options=options).json()["url"]).path
        for title, (row, options) in entries.items()
    }
    assert opened == {"Defer in bulk": "/placement/", "Defer, the other way": "/second/"}


def test_a_deep_link_passes_parameters(as_person, installed):
    link = f"/marketplace/view/{CODE}/?params[job]=17"
    holder = re.search(r'data-placement="(\d+)" data-options="([^"]*)"', as_person(WORKER).page(link))
    options = json.loads(holder.group(2).replace("&quot;", '"'))
    opening = as_person(WORKER).frame(installed, placement=int(holder.group(1)), options=options).json()
    assert opening["init"]["PLACEMENT"] == "REST_APP_URI"
    assert options["job"] == "17"
    assert options["URI"].startswith(f"/marketplace/view/{CODE}/")


def test_an_old_box_posts_less(box, as_person, installed):
    box.turn({"acme/old_post": True})
    fields = dict(as_person(WORKER).frame(installed).json()["fields"])
    box.turn({"acme/old_post": None})
    assert not {"SERVER_ENDPOINT", "APPLICATION_TOKEN", "APPLICATION_SCOPE"} & set(fields)


def test_every_opening_starts_a_token_chain(box, as_person, installed):
    worker = as_person(WORKER)
    first, second = worker.frame(installed).json(), worker.frame(installed).json()
    renewed = worker.post("/desktop/frame/refresh/", json={"installation": installed}).json()
    assert list(renewed) == ["AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID"]
    access = [first["init"]["AUTH_ID"], second["init"]["AUTH_ID"], renewed["AUTH_ID"]]
    assert len({first["sid"], second["sid"]}) == 2
    for token in access:
        assert box.rest("acme", "profile", token=token).json()["result"]["ID"] == str(WORKER)


def test_only_administrators_set_app_options(as_person, installed):
    worker, admin = as_person(WORKER), as_person(ADMIN)
    wish = {"installation": installed, "name": "sort", "value": {"by": "deadline"}}
    assert worker.post("/desktop/frame/option/", json=wish).status_code == 200
    assert worker.post("/desktop/frame/option/", json={**wish, "for_all": True}).status_code == 403
    assert admin.post("/desktop/frame/option/", json={**wish, "value": 1, "for_all": True}).status_code == 200
    init = worker.frame(installed).json()["init"]
    assert init["USER_OPTIONS"] == {"sort": {"by": "deadline"}}
    assert init["APP_OPTIONS"] == {"sort": 1}


def test_an_uninstalled_app_leaves_the_desktop(box, as_person):
    box.install("acme")
    bind(box, "TASK_USER_LIST_TOOLBAR")
    admin = as_person(ADMIN)
    installation = installation_of(admin)
    admin.post(f"/marketplace/app/{CODE}/uninstall/")
    assert placements_on(admin.page("/company/personal/user/1/tasks/")) == {}
    assert admin.get(f"/marketplace/app/{CODE}/").status_code == 404
    assert admin.frame(installation).status_code == 404
