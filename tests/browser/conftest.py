"""A person at a portal's desktop in Chromium, with our page in its frame from another site."""

import time

import pytest

from tests.conftest import SQLITE

ADMIN = {"name": "Ada", "last_name": "Chief", "is_admin": True}


@pytest.fixture
def stack():
    """What a page looks like does not depend on the database."""
    return SQLITE


class Desk:
    """One person at acme's desktop. Its methods return our frame."""

    def __init__(self, page, sandbox, app, number):
        self.page, self.sandbox, self.app, self.number = page, sandbox, app, number
        self.root = f"http://{sandbox.portals['acme']}"
        self.sit_down(number)

    def sit_down(self, number):
        self.number = number
        self.page.context.add_cookies([{"name": "desk_acme", "value": str(number), "url": self.root}])

    def speak(self, language):
        self.page.request.post(f"{self.root}/desktop/language/", form={"language": language, "back": "/"})

    def install(self):
        self.page.goto(f"{self.root}/marketplace/")
        self.page.get_by_role("button", name="Install", exact=True).click()
        frame = self.frame()
        frame.get_by_role("heading", name="Defer tasks").wait_for()
        return frame

    def open_above_the_list(self):
        """Open the app in a slider, from the ••• menu above the person's own task list."""
        self.page.goto(f"{self.root}/company/personal/user/{self.number}/tasks/")
        self.page.locator(".toolbar summary").click()
        self.page.locator(".toolbar").get_by_role("button").first.click()
        return self.frame()

    def frame(self):
        """A locator of our frame, also after it loads another page."""
        return self.page.locator(".app-frame").last.content_frame

    def own(self):
        """Our frame as a Frame, to run scripts in."""
        return self.until(lambda: [frame for frame in self.page.frames if frame.url.startswith(self.app.url)])[-1]

    def until(self, condition, seconds=15):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "the condition did not become true"
            self.page.wait_for_timeout(50)
        return found


@pytest.fixture
def desk(page, sandbox, app):
    """An employee of acme, where the app is set up by its admin; web and worker run."""
    app.start("web", "worker")
    admin = sandbox.user("acme", **ADMIN)
    worker = sandbox.user("acme", name="Bob", last_name="Worker")
    desk = Desk(page, sandbox, app, admin)
    desk.install()
    desk.sit_down(worker)
    return desk


@pytest.fixture
def tasks(desk, sandbox):
    def make(count, **fields):
        return sandbox.tasks("acme", count=count, **({"status": 3, "creator": desk.number} | fields))

    return make
