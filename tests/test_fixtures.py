"""The fixtures do what their docstrings say, because all other tests rely on them."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import settings

from b24app.models import Credential


def test_tests_have_their_own_folder():
    assert Path(os.environ["VAR_DIR"]) == settings.VAR_DIR
    assert settings.BASE_DIR not in settings.VAR_DIR.parents


def test_a_person_has_a_working_credential(person, sandbox):
    token = Credential.objects.get(person=person).access_token
    assert sandbox.rest("acme", "profile", token=token).json()["result"]["ID"] == str(person.user_id)


def test_processes_start_on_every_stack(app):
    app.start("web", "worker", "beat")
    app.kill("worker")
    app.start("worker")
    assert app.value("select count(*) from defer_portal") == 0
    assert [app.stop(name) for name in ("beat", "worker", "web")] == [0, 0, 0]


class SetsCookie(BaseHTTPRequestHandler):
    """Every page sets a cookie; /outer also frames /inner from another site."""

    def do_GET(self):
        self.server.cookies.append((self.path, self.headers.get("Cookie")))
        inner = f'<iframe src="http://127.0.0.1:{self.server.server_port}/inner"></iframe>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Set-Cookie", "seen=1; SameSite=None; Secure; Path=/")
        self.end_headers()
        self.wfile.write(inner.encode() if self.path == "/outer" else b"<p>Here</p>")

    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture
def cookie_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), SetsCookie)
    server.cookies = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_foreign_frame_keeps_no_cookies(page, cookie_server):
    for _ in range(2):
        page.goto(f"http://localhost:{cookie_server.server_port}/outer")
        page.frame_locator("iframe").get_by_text("Here").wait_for()
    asked = [visit for visit in cookie_server.cookies if visit[0] != "/favicon.ico"]
    assert asked == [("/outer", None), ("/inner", None), ("/outer", "seen=1"), ("/inner", None)]


@pytest.mark.parametrize("script", ["console.error('broken')", "setTimeout(() => { throw new Error('broken') })"])
def test_errors_of_a_page_are_noticed(page, console, script):
    page.set_content(f"<script>{script}</script>")
    for _ in range(100):
        if console.errors:
            break
        page.wait_for_timeout(50)
    assert any("broken" in text for text in console.errors)
    console.errors.clear()
