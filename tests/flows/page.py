"""People's pages without a browser: they open the app, keep its ticket, press its buttons over HTTP."""

import html
import re
import uuid

import requests

from tests.processes import wait_until


def post_opening(app, opening, path="/placement/", session=requests, **changes):
    """What the app answers to an opening that Sandbox.open gave, with these of its fields changed."""
    fields = opening["fields"] | changes
    return session.post(f"{app.url}{path}", params=opening["query"], data=fields, timeout=30)


def install(app, sandbox, admin):
    """What an admin's browser does: installer, its steps, installFinish."""
    sandbox.install("acme", finished=False)
    run_installer(app, sandbox, admin)
    sandbox.control("finish", portal="acme")


def run_installer(app, sandbox, admin):
    page = Page(app, sandbox.open("acme", admin), "/install/")
    page.call("POST", "/install/scope/")
    page.call("POST", "/install/bind/")


class Page:
    """The app's page in the frame of a portal, opened with what Sandbox.open gave. `text` is what it showed."""

    def __init__(self, app, opening, path="/placement/"):
        self.app, self.session = app, requests.Session()
        self.text = html.unescape(post_opening(app, opening, path, self.session).text)
        self.ticket = re.search(r'data-ticket="([^"]+)"', self.text).group(1)

    @classmethod
    def of_list(cls, app, sandbox, user, owner=None):
        """The page as `user` of acme opens it above a task list, by default their own."""
        options = {"USER_ID": str(owner or user)}
        return cls(app, sandbox.open("acme", user, placement="TASK_USER_LIST_TOOLBAR", options=options))

    def call(self, method, path, **kwargs):
        headers = {"X-Ticket": self.ticket, "HX-Request": "true"}
        answer = self.session.request(method, f"{self.app.url}{path}", headers=headers, timeout=30, **kwargs)
        answer.raise_for_status()
        self.ticket = answer.headers.get("X-Ticket", self.ticket)
        return answer.text

    def select(self, ids=None, **listing):
        """The dialog for these tasks, or for everything that matches; waits until it is collected."""
        asked = {"ids": ",".join(map(str, ids))} if ids else {"everything": "1"}
        dialog = self.call("POST", "/selections/", data={**asked, **listing})
        while poll := re.search(r'hx-get="(/selections/[^"]+)"', dialog):
            dialog = self.call("GET", html.unescape(poll.group(1)))
        return dialog

    def defer(self, dialog, reason="", key=None):
        """Confirm the dialog; the number of the job."""
        selection = re.search(r'name="selection" value="([^"]+)"', dialog).group(1)
        fields = {"selection": selection, "reason": reason, "key": key or str(uuid.uuid4())}
        panel = self.call("POST", "/jobs/", data=fields)
        return int(re.search(r"/jobs/(\d+)/", panel).group(1))

    def undo(self, job):
        """Press Undo on a finished job; the number of the job that returns what it has deferred."""
        panel = self.call("POST", f"/jobs/{job}/undo/")
        return int(re.search(r"/jobs/(\d+)/", panel).group(1))

    def panel(self, job):
        """What the job's panel says, in plain text."""
        return html.unescape(self.call("GET", f"/jobs/{job}/"))

    def wait_for(self, job, seconds=60):
        """The finished job's panel."""

        def finished():
            panel = self.call("GET", f"/jobs/{job}/")
            return panel if 'id="back"' in panel else None

        return wait_until(finished, seconds, f"job {job} to finish")
