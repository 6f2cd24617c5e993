"""The vendor's unmodified JavaScript library runs in the sandbox's desktop and gets the answers that it expects.

The test app has the strict content security policy of our pages. Its page keeps the result of the start in
`started`, and the library's handle in `b24`.
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import machine
from tests.sandbox.test_frame_protocol import FLAGS, Seat
from tests.sandbox_client import Sandbox

pytestmark = pytest.mark.browser

ADMIN, WORKER = 1, 5
FOLDER = Path(__file__).parent / "b24jssdk"
LIBRARY = (FOLDER / "index.min.js").read_bytes()
POLICY = "default-src 'none'; script-src 'self'"
PAGE = b"""<!doctype html><title>library</title><p>library</p>
<script src="/library.js"></script><script src="/page.js"></script>"""
SCRIPT = b"""B24Js.initializeB24Frame().then(
  (b24) => { window.b24 = b24; window.started = "ready"; },
  (error) => { window.started = String(error); });"""


class Judge(BaseHTTPRequestHandler):
    """An app that answers every address with one page, which starts the vendor's library."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer("text/html", PAGE)

    def do_GET(self):
        self.answer("text/javascript", {"/library.js": LIBRARY}.get(urlsplit(self.path).path, SCRIPT))

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def page_origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def box(page_origin, tmp_path_factory):
    sandbox = Sandbox.start(tmp_path_factory.mktemp("library"), seed="demo", app_origin=page_origin)
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="module")
def browser(playwright):
    chromium = playwright.chromium.launch(executable_path=machine.chromium(), args=FLAGS)
    yield chromium
    chromium.close()


@pytest.fixture
def installed(box, page_origin):
    box.install("acme")
    params = {"PLACEMENT": "TASK_USER_LIST_TOOLBAR", "HANDLER": f"{page_origin}/list/", "TITLE": "Defer in bulk"}
    bound = box.rest("acme", "placement.bind", params, token=box.access("acme", ADMIN)).json()
    assert bound["result"] is True
    yield
    box.uninstall("acme")


@pytest.fixture
def sit(browser, box):
    """A person at acme's desktop, in a separate browser."""
    contexts = []

    def sit_down(number):
        root = f"http://{box.portals['acme']}"
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 720}))
        contexts[-1].add_cookies([{"name": "desk_acme", "value": str(number), "url": root}])
        return Seat(contexts[-1], root)

    yield sit_down
    for context in contexts:
        context.close()


def start(seat, frame):
    """Wait until the library is ready in the frame; return the frame."""
    assert seat.until(lambda: frame.evaluate("() => window.started")) == "ready"
    return frame


def begin(frame, call):
    """Start a call of the library that ends when a person acts; `end` waits for it."""
    frame.evaluate(f"() => {{ window.ended = null; ({call}).then((r) => {{ window.ended = JSON.stringify(r); }}); }}")


def end(seat, frame):
    return json.loads(seat.until(lambda: frame.evaluate("() => window.ended")))


def test_the_library_is_the_published_file():
    recorded = re.search(r"sha256 +([0-9a-f]{64})", (FOLDER / "NOTICE").read_text()).group(1)
    assert hashlib.sha256(LIBRARY).hexdigest() == recorded
    assert b"@version 2.2.0" in LIBRARY[:500]


def test_it_knows_its_placement(box, sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_slider())
    where = frame.evaluate("() => [b24.placement.title, b24.placement.options, b24.getLang(), b24.auth.isAdmin]")
    assert where[0] == "TASK_USER_LIST_TOOLBAR"
    assert where[1]["USER_ID"] == str(WORKER)
    assert where[2:] == ["en", False]
    auth = frame.evaluate("() => b24.auth.getAuthData()")
    assert auth["domain"] == f"http://{box.portals['acme']}"
    assert box.rest("acme", "profile", token=auth["access_token"]).json()["result"]["ID"] == str(WORKER)


def test_it_renews_its_authorization(box, sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_slider())
    before = frame.evaluate("() => b24.auth.getAuthData().access_token")
    after = frame.evaluate("async () => (await b24.auth.refreshAuth()).access_token")
    assert after != before
    assert box.rest("acme", "profile", token=after).json()["result"]["ID"] == str(WORKER)


def test_it_fits_its_frame_to_its_page(sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_page())
    answer = frame.evaluate("""async () => {
        const tall = document.createElement("div");
        tall.innerText = "\\n".repeat(150);
        document.body.append(tall);
        return [await b24.parent.fitWindow(), document.documentElement.scrollHeight];
    }""")
    assert answer[0]["height"] > 1000
    assert seat.page.locator(".app-frame").bounding_box()["height"] == answer[0]["height"]


def test_it_sets_the_title_outside_sliders(sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_page())
    assert frame.evaluate("() => b24.parent.setTitle('Sleeping: 3')") == {"title": "Sleeping: 3"}
    assert seat.page.locator("#pagetitle").inner_text() == "Sleeping: 3"
    frame = start(seat, seat.open_slider())
    assert frame.evaluate("() => b24.parent.setTitle('MaybeMoved')") == {"isSafely": True}  # the library's timeout
    assert seat.page.locator("#pagetitle").inner_text() != "MaybeMoved"


def test_it_learns_that_a_card_was_closed(sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_slider())
    task = seat.page.locator("tr[data-task]").first.get_attribute("data-task")
    path = f"/company/personal/user/{WORKER}/tasks/task/view/{task}/"
    begin(frame, f"b24.slider.openPath(b24.slider.getUrl('{path}'), 900)")
    seat.page.frame_locator(".slider-frame").get_by_text(f"№ {task}").wait_for()
    seat.page.get_by_role("button", name="Close").last.click()
    assert end(seat, frame) == {"isOpenAtNewWindow": False, "isClose": True}


def test_it_selects_people(sit, installed):
    seat = sit(WORKER)
    frame = start(seat, seat.open_page())
    begin(frame, "b24.dialog.selectUser()")
    seat.page.get_by_role("dialog").get_by_role("button", name="Anna Keller").click()
    assert end(seat, frame)["id"] == "1"
    begin(frame, "b24.dialog.selectUsers()")
    for name in ("Anna Keller", "Tomás Oliveira", "OK"):
        seat.page.get_by_role("dialog").get_by_role("button", name=name).click()
    assert [person["id"] for person in end(seat, frame)] == ["1", "12"]


def test_it_finishes_an_installation(box, sit):
    box.install("acme", finished=False)
    seat = sit(ADMIN)
    frame = start(seat, seat.open_page())
    assert frame.evaluate("() => b24.isInstallMode") is True
    frame.evaluate("() => { b24.installFinish(); }")
    seat.page.wait_for_url("**/?install_finished=Y")
    again = start(seat, seat.app_frame())
    assert again.evaluate("() => b24.isInstallMode") is False
    assert box.control("installation", portal="acme")["installed"] is True
    box.uninstall("acme")
