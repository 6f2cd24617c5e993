"""Production installs only requirements.txt; with these packages the app installs, defers and returns."""

import pytest

from tests import machine
from tests.conftest import SERVERS, TIME_SCALE, broker_without_messages, migrated_database, settings_for
from tests.flows.page import Page
from tests.processes import App

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.production]


@pytest.fixture(scope="module")
def deployment(request, running_sandbox, app_port, tmp_path_factory):
    """Web, worker and beat on PostgreSQL and Redis, in the environment of production."""
    directory = tmp_path_factory.mktemp("production")
    own = {
        "CELERY_BROKER_URL": broker_without_messages(SERVERS),
        "CLOCK_FILE": str(running_sandbox.clock_file),
        "TIME_SCALE": str(TIME_SCALE),
    }
    with migrated_database(request, SERVERS, directory) as url:
        settings = settings_for(running_sandbox) | own
        app = App(directory, app_port, url, settings, interpreter=str(machine.production_python()))
        try:
            app.start("web", "worker", "beat")
            yield app
        finally:
            app.kill_all()


def test_the_app_works_with_its_requirements(sandbox, installed, bob):
    ids = sandbox.tasks("acme", count=20, status=3, creator=bob)
    page = Page.of_list(installed, sandbox, bob)
    job = page.defer(page.select())
    assert "20 deferred" in page.wait_for(job)
    assert set(sandbox.states("acme", ids).values()) == {6}
    assert "20 returned" in page.wait_for(page.undo(job))
    assert set(sandbox.states("acme", ids).values()) == {3}


def test_operators_commands_work_with_the_requirements(installed):
    installed.manage("check")
    installed.manage("migrate", "--check")
    installed.manage("collectstatic", "--noinput")
    installed.manage("check_worker", "worker@test")
    installed.manage("journal", "--portal", installed.value("select member_id from defer_portal"))
