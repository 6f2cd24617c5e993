"""One running app for all tests of a module, and the people of its portal."""

import pytest

from tests.conftest import STACKS, TIME_SCALE, broker_without_messages, migrated_database, settings_for
from tests.flows.page import install
from tests.processes import App


@pytest.fixture(scope="module", params=STACKS)
def deployment(request, running_sandbox, app_port, tmp_path_factory):
    """Web, worker and beat, which follow the sandbox's clock. Tests use `running`."""
    stack, directory = request.param, tmp_path_factory.mktemp("deployment")
    own = {
        "CELERY_BROKER_URL": broker_without_messages(stack),
        "CLOCK_FILE": str(running_sandbox.clock_file),
        "TIME_SCALE": str(TIME_SCALE),
    }
    with migrated_database(request, stack, directory) as url:
        app = App(directory, app_port, url, settings_for(running_sandbox) | own)
        try:
            app.start("web", "worker", "beat")
            yield app
        finally:
            app.kill_all()


@pytest.fixture
def running(deployment, sandbox):
    """The running app without portals and people. Processes that a test killed run again."""
    deployment.start(*({"web", "worker", "beat"} - deployment.running.keys()))
    deployment.forget_everything()
    sandbox.keep_pace(TIME_SCALE)
    return deployment


@pytest.fixture
def admin(sandbox, running):
    """Ann, an administrator of acme."""
    return sandbox.user("acme", name="Ann", is_admin=True)


@pytest.fixture
def installed(sandbox, running, admin):
    """The running app, installed at acme by Ann."""
    install(running, sandbox, admin)
    return running


@pytest.fixture
def bob(sandbox, admin):
    """An ordinary employee of acme."""
    return sandbox.user("acme", name="Bob", last_name="Worker")
