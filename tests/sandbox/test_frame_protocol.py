"""The answers of the desktop to an app in a frame, in a real browser.

The stand-in app runs on 127.0.0.1 and the portal on localhost, so they are different sites, as in real life. In the
stand-in's page, `ask(command, params)` sends a message as the vendor's library does. It returns the text of the
answer, or null if the portal did not answer.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Frame, Page

from tests import machine
from tests.sandbox_client import Sandbox

pytestmark = pytest.mark.browser

ADMIN, WORKER = 1, 5
CODE = "example.defer"
SILENCE = 300  # milliseconds; no answer within this time counts as none
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
STAND_IN = """<!doctype html><title>stand-in</title><link rel="icon" href="data:,"><body>stand-in<script>
const [host, secure, sid] = window.name.split("|");
const replies = {};
addEventListener("message", (event) => {
  const colon = event.data.indexOf(":");
  (replies[event.data.slice(0, colon)] ||= []).push(event.data.slice(colon + 1));
});
let last = 0;
function say(command, params, as = sid) {
  const key = `k${++last}`;
  parent.postMessage([command, ...(params === undefined ? [] : [JSON.stringify(params)]), key, as].join(":"),
    `http://${host}`);
  return key;
}
async function heard(key, wait) {
  for (const until = Date.now() + wait; Date.now() < until; await new Promise((go) => setTimeout(go, 10)))
    if (replies[key]) return replies[key][0];
  return null;
}
const ask = ([command, params, wait]) => heard(say(command, params), wait);
</script></body>"""


class StandIn(BaseHTTPRequestHandler):
    """An app that shows the same page at every address and remembers the posted forms."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        url = urlsplit(self.path)
        self.server.posts.append((url.path, dict(parse_qsl(url.query)), dict(parse_qsl(body)), self.headers))
        page = STAND_IN.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def stand_in():
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.posts = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def box(stand_in, tmp_path_factory):
    origin = f"http://127.0.0.1:{stand_in.server_address[1]}"
    sandbox = Sandbox.start(tmp_path_factory.mktemp("frames"), ("acme",), seed="demo", app_origin=origin)
    sandbox.settings(limits__bucket=False)  # other tests cover it
    yield sandbox
    sandbox.stop()


@pytest.fixture
def installed(stand_in, box):
    """The finished app, with an entry in the menu above a person's task list and a tab in the card."""
    box.install("acme")
    token = box.access("acme", ADMIN)
    handler = f"http://127.0.0.1:{stand_in.server_address[1]}/placement/"
    for placement in ("TASK_USER_LIST_TOOLBAR", "TASK_VIEW_TAB"):
        params = {"PLACEMENT": placement, "HANDLER": handler, "TITLE": "Defer in bulk"}
        assert box.rest("acme", "placement.bind", params, token=token).json()["result"] is True
    stand_in.posts.clear()
    yield
    box.uninstall("acme")


class Seat:
    """One person's browser window at the portal."""

    def __init__(self, context: BrowserContext, root: str):
        self.root = root
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open_page(self, query: str = "") -> Frame:
        self.page.goto(f"{self.root}/marketplace/app/{CODE}/{query}")
        return self.app_frame()

    def open_slider(self) -> Frame:
        self.page.goto(f"{self.root}/company/personal/user/{WORKER}/tasks/")
        self.page.locator(".toolbar summary").click()
        self.page.get_by_role("button", name="Defer in bulk").click()
        return self.app_frame()

    def app_frame(self, count: int = 1) -> Frame:
        """The newest of `count` app frames, after it has loaded."""
        return self.until(lambda: self._loaded(count))

    def _loaded(self, count: int):
        frames = [frame for frame in self.page.frames if "127.0.0.1" in frame.url]
        ready = len(frames) == count and frames[-1].evaluate("document.readyState") == "complete"
        return frames[-1] if ready else None

    def until(self, condition):
        """Wait until the condition is true, ten seconds at most; return its value."""
        deadline = time.monotonic() + 10
        while not (found := condition()):
            assert time.monotonic() < deadline, "It did not come about."
            self.page.wait_for_timeout(20)
        return found

    def log(self) -> list[dict]:
        return self.page.evaluate("sandboxLog")


@pytest.fixture(scope="module")
def browsers(playwright, box):
    """One browser per person for all tests."""
    chromium = playwright.chromium.launch(executable_path=machine.chromium(), args=FLAGS)
    root = f"http://{box.portals['acme']}"
    contexts = {}
    for number in (ADMIN, WORKER):
        contexts[number] = chromium.new_context(viewport={"width": 1280, "height": 720})
        contexts[number].add_cookies([{"name": "desk_acme", "value": str(number), "url": root}])
    yield contexts
    chromium.close()


@pytest.fixture
def sit(browsers, box):
    seats = []

    def sit_down(number: int) -> Seat:
        seats.append(Seat(browsers[number], f"http://{box.portals['acme']}"))
        return seats[-1]

    yield sit_down
    for seat in seats:
        seat.page.close()
        assert seat.errors == []


def ask(frame: Frame, command: str, params=None, wait: int = 3000):
    """The portal's answer as data; "" if the answer is empty, None if there is no answer."""
    text = frame.evaluate("ask", [command, params, wait] if params is not None else [command, None, wait])
    return json.loads(text) if text else text


def test_a_cross_site_post_opens_the_frame(stand_in, box, sit, installed):
    frame = sit(WORKER).open_slider()
    path, query, fields, headers = stand_in.posts[-1]
    assert path == "/placement/"
    assert headers["Origin"] == f"http://{box.portals['acme']}"
    assert headers["Sec-Fetch-Site"] == "cross-site"
    assert headers["Sec-Fetch-Dest"] == "iframe"
    assert frame.evaluate("window.name") == f"{box.portals['acme']}|0|{query['APP_SID']}"
    assert fields["PLACEMENT_OPTIONS"] == r'{"USER_ID":"5","URI":"\/company\/personal\/user\/5\/tasks\/"}'


def test_get_init_data_repeats_the_form(stand_in, sit, installed):
    data = ask(sit(WORKER).open_slider(), "getInitData")
    fields = stand_in.posts[-1][2]
    assert list(data) == [
        "LANG", "DOMAIN", "PROTOCOL", "PATH", "AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID", "MEMBER_ID",
        "FIRST_RUN", "IS_ADMIN", "INSTALL", "USER_OPTIONS", "APP_OPTIONS", "PLACEMENT", "PLACEMENT_OPTIONS",
    ]  # fmt: skip
    assert {name: data[name] for name in ("AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID", "PLACEMENT")} == {
        name: fields[name] for name in ("AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID", "PLACEMENT")
    }
    assert data["MEMBER_ID"] == fields["member_id"]
    assert (data["PROTOCOL"], data["PATH"], data["IS_ADMIN"], data["INSTALL"]) == (0, "/rest", False, False)
    assert data["PLACEMENT_OPTIONS"] == {"USER_ID": "5", "URI": "/company/personal/user/5/tasks/"}


def test_set_install_ends_the_first_run(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_page()
    assert ask(frame, "getInitData")["FIRST_RUN"] is True
    assert ask(frame, "setInstall", {"install": True}) == {"install": True}
    assert ask(seat.open_page(), "getInitData")["FIRST_RUN"] is False


def test_refresh_auth_gives_a_valid_pair(box, sit, installed):
    frame = sit(WORKER).open_slider()
    pair = ask(frame, "refreshAuth")
    assert set(pair) == {"AUTH_ID", "AUTH_EXPIRES", "REFRESH_ID"}
    assert pair["AUTH_ID"] != ask(frame, "getInitData")["AUTH_ID"]
    assert box.rest("acme", "profile", token=pair["AUTH_ID"]).json()["result"]["ID"] == str(WORKER)


def test_a_failed_refresh_shows_an_alert(sit, installed):
    seat = sit(WORKER)
    alerts = []
    seat.page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    assert ask(seat.open_page("?fail_refresh=1"), "refreshAuth", wait=SILENCE) is None
    assert len(alerts) == 1


def test_only_a_page_can_be_resized(sit, installed):
    seat = sit(WORKER)
    answer = ask(seat.open_page(), "resizeWindow", {"width": "100%", "height": 1234})
    assert answer["height"] == 1234
    assert seat.page.locator(".app-frame").bounding_box()["height"] == 1234
    assert ask(seat.open_slider(), "resizeWindow", {"width": "100%", "height": 1234}, SILENCE) is None
    assert seat.page.locator(".app-frame").evaluate("frame => frame.offsetHeight") == 720 - 4


def test_a_placement_may_not_set_the_title(sit, installed):
    seat = sit(WORKER)
    assert ask(seat.open_page(), "setTitle", {"title": "Sleeping: 3"}) == {"title": "Sleeping: 3"}
    assert seat.page.locator("#pagetitle").inner_text() == "Sleeping: 3"
    assert ask(seat.open_slider(), "setTitle", {"title": "Sleeping"}, SILENCE) is None
    assert seat.page.locator("#pagetitle").inner_text() != "Sleeping"


def test_open_path_answers_when_it_is_closed(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_slider()
    task = seat.page.locator("tr[data-task]").first.get_attribute("data-task")
    # The vendor's library first sends another message, to choose a width.
    decoy = "/company/personal/user/0/groups/create/../../../../../.."
    path = f"{decoy}/company/personal/user/5/tasks/task/view/{task}/"
    key = frame.evaluate("path => say('openPath', {path: path + '?IFRAME=Y'})", path)
    card = seat.page.frame_locator(".slider-frame")
    card.get_by_text(f"№ {task}").wait_for()
    assert frame.evaluate("key => heard(key, 200)", key) is None
    seat.page.get_by_role("button", name="Close").last.click()
    assert json.loads(frame.evaluate("key => heard(key, 3000)", key)) == {"result": "close"}


def test_open_path_refuses_other_places(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_page()
    for path in (
        "/tasks/task/view/1/",
        "/desktop/become/",
        "//evil.example/company/personal/user/5/",
        "http://evil.example/company/personal/user/5/",
        "/company/personal/user/5/../../../../desktop/people/",
        "javascript:alert(1)",
    ):
        answer = ask(frame, "openPath", {"path": path})
        assert answer == {"result": "error", "errorCode": "PATH_NOT_AVAILABLE"}, path
    assert seat.page.locator(".slider").count() == 0


def test_open_path_fails_on_a_phone(sit, installed):
    path = "/company/personal/user/5/tasks/task/view/1/"
    answer = ask(sit(WORKER).open_page("?mobile=1"), "openPath", {"path": path})
    assert answer == {"result": "error", "errorCode": "METHOD_NOT_SUPPORTED_ON_DEVICE"}


def test_an_app_opens_a_second_slider(sit, installed):
    seat = sit(WORKER)
    first = seat.open_slider()
    key = first.evaluate("say('openApplication', {place: 'history', ids: [1, 2], bx24_width: 650})")
    second = seat.app_frame(count=2)
    data = ask(second, "getInitData")
    assert (data["PLACEMENT"], data["PLACEMENT_OPTIONS"]) == ("DEFAULT", {"place": "history", "ids": [1, 2]})
    assert seat.page.locator(".slider-panel").last.evaluate("panel => panel.offsetWidth") == 650
    second.evaluate("say('closeApplication')")
    assert first.evaluate("key => heard(key, 3000)", key) == ""
    assert seat.page.locator(".slider").count() == 1


def test_a_card_shows_the_app_in_a_tab(stand_in, sit, installed):
    seat = sit(WORKER)
    seat.page.goto(f"{seat.root}/company/personal/user/{WORKER}/tasks/")
    seat.page.locator(".grid .name a").first.click()
    seat.page.frame_locator(".slider-frame").get_by_role("button", name="Defer in bulk").click()
    data = ask(seat.app_frame(), "getInitData")
    assert data["PLACEMENT"] == "TASK_VIEW_TAB"
    assert list(data["PLACEMENT_OPTIONS"]) == ["taskId", "URI"]


def test_people_can_be_selected(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_page()
    key = frame.evaluate("say('selectUser', {mult: false})")
    seat.page.get_by_role("dialog").get_by_role("button", name="Anna Keller").click()
    person = json.loads(frame.evaluate("key => heard(key, 3000)", key))
    assert (person["id"], person["name"]) == ("1", "Anna Keller")

    key = frame.evaluate("say('selectUser', {mult: true})")
    for name in ("Anna Keller", "Tomás Oliveira", "OK"):
        seat.page.get_by_role("dialog").get_by_role("button", name=name).click()
    people = json.loads(frame.evaluate("key => heard(key, 3000)", key))
    assert [person["id"] for person in people] == ["1", "12"]


def test_an_employees_app_option_is_ignored(sit, installed):
    option = {"name": "mode", "value": "fast"}
    worker = sit(WORKER).open_page()
    assert ask(worker, "setAppOption", option, SILENCE) is None
    assert ask(worker, "setUserOption", option) == option
    seat = sit(ADMIN)
    assert ask(seat.open_page(), "setAppOption", option) == option
    assert ask(seat.open_page(), "getInitData")["APP_OPTIONS"] == {"mode": "fast"}


def test_install_finish_opens_the_app(stand_in, box, sit):
    box.install("acme", finished=False)
    stand_in.posts.clear()
    seat = sit(ADMIN)
    frame = seat.open_page()
    assert ask(frame, "getInitData")["INSTALL"] is True
    key = frame.evaluate("say('setInstallFinish')")
    seat.page.wait_for_url("**/?install_finished=Y")
    data = ask(seat.app_frame(), "getInitData")
    assert key
    assert data["INSTALL"] is False
    assert data["PLACEMENT_OPTIONS"] == {}
    assert [path for path, *_ in stand_in.posts] == ["/install/", "/"]
    box.uninstall("acme")


def test_junk_messages_get_no_answer(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_page()
    frame.evaluate("""() => {
        for (const junk of ["", "getInitData", "getInitData:k", "getInitData:{broken:k:" + sid, 7, null, {},
            [1], {method: "getInitData"}, "constructor:k:" + sid, "noSuchCommand:k:" + sid])
          parent.postMessage(junk, "*");
    }""")
    foreign = frame.evaluate("say('getInitData', undefined, '0'.repeat(32))")
    assert frame.evaluate(f"key => heard(key, {SILENCE})", foreign) is None
    assert frame.evaluate("Object.keys(replies)") == []
    assert ask(frame, "getInitData")["PLACEMENT"] == "DEFAULT"
    assert [note["answered"] for note in seat.log()].count(True) == 1


def test_a_foreign_origin_gets_no_answer(sit, installed):
    seat = sit(WORKER)
    frame = seat.open_page()
    frame.evaluate("""() => {
        const form = document.createElement("form");
        form.method = "post";
        form.action = location.href.replace("127.0.0.1", "localhost");
        document.body.append(form);
        form.submit();
    }""")
    seat.until(lambda: urlsplit(frame.url).hostname == "localhost")
    frame.wait_for_load_state()
    assert ask(frame, "getInitData", wait=SILENCE) is None
    assert [note["why"].partition(" ")[0] for note in seat.log()] == ["origin"]


def test_commands_can_be_muted(sit, installed):
    frame = sit(WORKER).open_page("?mute=getInitData,setScroll")
    assert ask(frame, "getInitData", wait=SILENCE) is None
    assert ask(frame, "setScroll", {"scroll": 0}, SILENCE) is None
    assert ask(frame, "getInterface") == {"command": [], "event": []}


def test_a_command_may_be_an_object(sit, installed):
    frame = sit(WORKER).open_page()
    frame.evaluate("() => parent.postMessage({method: 'getInterface', params: {}, callback: 'obj', appSid: sid}, '*')")
    assert frame.evaluate("heard('obj', 3000)") == '{"command":[],"event":[]}'


def test_an_open_list_shows_new_changes(box, sit, installed):
    seat = sit(WORKER)
    seat.page.goto(f"{seat.root}/company/personal/user/{WORKER}/tasks/?preset=all")
    row = seat.page.locator("tr[data-task]:has(.status-2)").first
    task = int(row.get_attribute("data-task"))
    box.change_task("acme", task, status=6)
    seat.page.locator(f"tr[data-task='{task}'] .status-6").wait_for(timeout=5000)
