from types import SimpleNamespace

import pytest

from tests.sandbox_client import Sandbox


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory):
    sandbox = Sandbox.start(tmp_path_factory.mktemp("sandbox"), portals=("acme", "umbrella"))
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox):
    """The session's sandbox, empty again."""
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def acme(sandbox):
    """Acme with the app installed: Ann administers it, Bob works, Zoe has nothing to do with his tasks."""
    ann = sandbox.user("acme", name="Ann", last_name="Admin", is_admin=True, position="CEO")
    bob = sandbox.user("acme", name="Bob", last_name="Worker", zone="Europe/Berlin")
    zoe = sandbox.user("acme", name="Zoe", last_name="Stranger")
    installation = sandbox.install("acme")
    return SimpleNamespace(
        sandbox=sandbox,
        ann=ann,
        bob=bob,
        zoe=zoe,
        token=sandbox.access("acme", bob),
        admin_token=sandbox.access("acme", ann),
        application_token=installation["application_token"],
    )
