"""A person's page without a browser: it opens the app, keeps the ticket, and presses buttons over HTTP."""

import html
import re
import uuid

import requests

from tests.processes import wait_until


def post_opening(app, opening, path="/placement/", session=requests, **changes):
    """The app's answer to an opening from Sandbox.open, with some fields replaced."""
    fields = opening["fields"] | changes
    return session.post(f"{app.url}{path}", params=opening["query"], data=fields, timeout=30)


def install(app, sandbox, admin):
    """Install the app as an administrator's browser does: installer, its steps, installFinish."""
    sandbox.install("acme", finished=False)
    run_installer(app, sandbox, admin)
    sandbox.control("finish", portal="acme")


def run_installer(app, sandbox, admin):
    page = Page(app, sandbox.open("acme", admin), "/install/")
    page.call("POST", "/install/scope/")
    page.call("POST", "/install/bind/")


class Page:
    """The app's page in the frame of a portal, for an opening from Sandbox.open. `text` is its HTML."""

    def __init__(self, app, opening, path="/placement/"):
        self.app, self.session = app, requests.Session()
        self.text = html.unescape(post_opening(app, opening, path, self.session).text)
        self.ticket = re.search(r'data-ticket="([^"]+)"', self.text).group(1)

    @classmethod
    def of_list(cls, app, sandbox, user, owner=None):
        """The page that `user` of acme opens above a task list, by default their own."""
        options = {"USER_ID": str(owner or user)}
        return cls(app, sandbox.open("acme", user, placement="TASK_USER_LIST_TOOLBAR", options=options))

    def call(self, method, path, **kwargs):
        headers = {"X-Ticket": self.ticket, "HX-Request": "true"}
        answer = self.session.request(method, f"{self.app.url}{path}", headers=headers, timeout=30, **kwargs)
        answer.raise_for_status()
        self.ticket = answer.headers.get("X-Ticket", self.ticket)
        return answer.text

    def select(self, ids=None, **listing):
        """Open the dialog for these tasks, or for all that match; wait until the selection is collected."""
        asked = {"ids": ",".join(map(str, ids))} if ids else {"everything": "1"}
        dialog = self.call("POST", "/selections/", data={**asked, **listing})
        while poll := re.search(r'hx-get="(/selections/[^"]+)"', dialog):
            dialog = self.call("GET", html.unescape(poll.group(1)))
        return dialog

    def defer(self, dialog, reason="", key=None):
        """Confirm the dialog; return the number of the job."""
        selection = re.search(r'name="selection" value="([^"]+)"', dialog).group(1)
        fields = {"selection": selection, "reason": reason, "key": key or str(uuid.uuid4())}
        panel = self.call("POST", "/jobs/", data=fields)
        return int(re.search(r"/jobs/(\d+)/", panel).group(1))

    def undo(self, job):
        """Press Undo on a finished job; return the number of the job that returns its tasks."""
        panel = self.call("POST", f"/jobs/{job}/undo/")
        return int(re.search(r"/jobs/(\d+)/", panel).group(1))

    def panel(self, job):
        """The text of the job's panel."""
        return html.unescape(self.call("GET", f"/jobs/{job}/"))

    def wait_for(self, job, seconds=60):
        """Wait until the job is finished; return the text of its panel."""

        def finished():
            panel = self.call("GET", f"/jobs/{job}/")
            return panel if 'id="back"' in panel else None

        return wait_until(finished, seconds, f"job {job} to finish")
