"""Openings at acme, a portal of the sandbox, and two accidents: a new address, a lost key."""

import pytest
from cryptography.fernet import Fernet

from b24app.bitrix.client import Command
from b24app.bitrix.payloads import read_opening
from b24app.models import Credential, Person, Portal, RestCall

ASK = Command("list", "tasks.task.list")


def posted(opening, **changes):
    """An opening as the app reads it, with some of its fields changed."""
    return read_opening(opening["query"], {**opening["fields"], **changes})


def nothing_is_stored():
    return not any(model.objects.exists() for model in (Portal, Person, Credential))


def journaled():
    """The method and error code of each call, in order."""
    return list(RestCall.objects.order_by("pk").values_list("method", "code"))


@pytest.fixture
def bob(at_sandbox, db):
    """The user id of Bob, an ordinary employee of acme, who has not opened the installed app yet."""
    number = at_sandbox.user("acme", name="Bob", last_name="Worker", zone="Europe/Berlin")
    at_sandbox.install("acme")
    return number


@pytest.fixture
def ann(at_sandbox, db):
    """The user id of Ann, an administrator of acme."""
    return at_sandbox.user("acme", name="Ann", last_name="Admin", is_admin=True)


@pytest.fixture
def installing(sandbox, ann):
    """Ann's opening of the installer, which has not finished yet."""
    sandbox.install("acme", finished=False)
    return sandbox.open("acme", ann)


@pytest.fixture
def rename(sandbox):
    """Give acme another address; it has the old one back after the test."""
    old = sandbox.portals["acme"]
    new = old.replace("localhost", "127.0.0.1")

    def give():
        sandbox.control("rename", portal="acme", host=new)
        return new

    yield give
    sandbox.control("rename", portal="acme", host=old)
    sandbox.reset()


@pytest.fixture
def lose_key(settings):
    """Lose the encryption key: nothing that was sealed so far can be opened."""

    def lose():
        settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]

    return lose
