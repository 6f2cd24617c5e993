"""People who use our pages: each posts what a portal's frame posts, and keeps the ticket."""

import re

import pytest
from django.test import Client

from b24app.models import Credential, PendingOpening, Person, Portal
from b24app.worker import messages


class Visitor:
    """A person of a portal who has our page open. Each request carries the newest ticket, as the page's own do."""

    def __init__(self, sandbox, portal, user):
        self.sandbox, self.portal, self.user = sandbox, portal, user
        self.client = Client()
        self.ticket = ""

    @property
    def person(self):
        return Person.objects.get(user_id=self.user, portal__endpoint=self.sandbox.url(self.portal, "rest/"))

    def opening(self, placement="TASK_USER_LIST_TOOLBAR", **options):
        """What the portal would post: {query, fields}."""
        return self.sandbox.open(self.portal, self.user, placement, options or {"USER_ID": str(self.user)})

    def post_opening(self, path, opening, language="en", **headers):
        query = {**opening["query"], "LANG": language}
        return self.client.post(path, opening["fields"], query_params=query, headers=headers)

    def open(self, placement="TASK_USER_LIST_TOOLBAR", language="en", **options):
        page = self.post_opening("/placement/", self.opening(placement, **options), language)
        self.ticket = re.search(r'data-ticket="([^"]*)"', page.text).group(1)
        return page

    def get(self, url, data=None, **headers):
        return self._kept(self.client.get(url, data, headers=self._headers() | headers))

    def post(self, url, data=None, **headers):
        return self._kept(self.client.post(url, data, headers=self._headers() | headers))

    def _headers(self):
        return {"X-Ticket": self.ticket, "HX-Request": "true"}

    def _kept(self, answer):
        self.ticket = answer.headers.get("X-Ticket", self.ticket)
        return answer

    def select(self, ids):
        """Select these tasks and return the selection's id, from the dialog."""
        dialog = self.post("/selections/", {"ids": ",".join(map(str, ids))})
        return re.search(r'name="selection" value="([^"]+)"', dialog.text).group(1)

    def start(self, ids, reason="", key="k" * 32):
        return self.post("/jobs/", {"selection": self.select(ids), "reason": reason, "key": key})


def nothing_is_stored():
    return not any(model.objects.exists() for model in (Portal, Person, Credential, PendingOpening))


@pytest.fixture(autouse=True)
def sent_messages(monkeypatch):
    """The portals of the messages that the app sent. No message reaches a broker."""
    sent = []
    monkeypatch.setattr(messages, "send", lambda job, subject_id, seconds=0.0: sent.append(subject_id) or True)
    return sent


@pytest.fixture
def visit(at_sandbox, db):
    """A person of a portal that has the app: `visit()` creates an employee of acme."""

    def visit(portal="acme", finished=True, **fields):
        user = at_sandbox.user(portal, **({"name": "Bob", "last_name": "Worker"} | fields))
        at_sandbox.install(portal, finished=finished)
        return Visitor(at_sandbox, portal, user)

    return visit


@pytest.fixture
def bob(visit):
    return visit()


@pytest.fixture
def tasks(sandbox, bob):
    """Create tasks of Bob; `tasks(120)` in progress, `tasks(3, status=2)` pending."""

    def make(count=1, **fields):
        return sandbox.tasks("acme", count=count, **({"status": 3, "creator": bob.user} | fields))

    return make
