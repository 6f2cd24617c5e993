"""A person's page without a browser: opens the app, keeps its ticket, presses its buttons over HTTP."""

import html
import re
import uuid

import requests

from tests.processes import wait_until


class Page:
    """The app's page in the frame of a portal, opened with what Sandbox.open gave."""

    def __init__(self, app, opening, path="/placement/"):
        self.app, self.session = app, requests.Session()
        answer = self.session.post(f"{app.url}{path}", params=opening["query"], data=opening["fields"], timeout=30)
        self.ticket = re.search(r'data-ticket="([^"]+)"', answer.text).group(1)

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
        """Take a finished job back; the number of the job that does it."""
        return int(re.search(r"/jobs/(\d+)/", self.call("POST", f"/jobs/{job}/undo/")).group(1))

    def wait_for(self, job, seconds=60):
        """The finished job's panel."""

        def finished():
            panel = self.call("GET", f"/jobs/{job}/")
            return panel if 'id="back"' in panel else None

        return wait_until(finished, seconds, f"job {job} to finish")
