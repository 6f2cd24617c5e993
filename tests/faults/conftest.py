import os
import uuid

import pytest

from tests.conftest import TIME_SCALE, create_database, database_url, drop_database
from tests.faults.deployment import Deployment
from tests.faults.engine import Engine


@pytest.fixture(scope="package")
def running_deployment(tmp_path_factory, postgres_template):
    name = f"defer_faults_{uuid.uuid4().hex[:8]}"
    create_database(name, postgres_template)
    deployment = Deployment(
        tmp_path_factory.mktemp("deployment"),
        database_url(name),
        float(os.environ.get("FAULTS_TIME_SCALE", TIME_SCALE)),
    )
    yield deployment
    deployment.close()
    drop_database(name)


@pytest.fixture
def deployment(running_deployment):
    """The whole deployment, running and empty: see deployment.py."""
    running_deployment.fresh()
    return running_deployment


@pytest.fixture
def bob(deployment):
    """An employee of acme, where the app is installed."""
    return deployment.person("acme")


# -- In the test's process: instead of waiting, the test moves the clock of app and sandbox ---------------


@pytest.fixture
def engine(at_sandbox, settings, db):
    """Runs slices in this process, with unscaled waits: see engine.py."""
    settings.CLOCK_FILE = str(at_sandbox.clock_file)
    settings.ENGINE_READ_TIMEOUT = 5.0
    return Engine(at_sandbox)


@pytest.fixture
def worker(engine, open_as):
    """Bob of acme, who has opened the app."""
    number = engine.sandbox.user("acme", name="Bob")
    engine.sandbox.install("acme")
    return open_as("acme", number)
