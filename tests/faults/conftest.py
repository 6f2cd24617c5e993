import uuid

import pytest

from tests.conftest import create_database, database_url, drop_database
from tests.faults.bench import Bench


@pytest.fixture(scope="module")
def running_bench(tmp_path_factory, postgres_template):
    name = f"defer_bench_{uuid.uuid4().hex[:8]}"
    create_database(name, postgres_template)
    bench = Bench(tmp_path_factory.mktemp("bench"), database_url(name))
    yield bench
    bench.close()
    drop_database(name)


@pytest.fixture
def bench(running_bench):
    """The whole deployment, running and empty: see bench.py."""
    running_bench.fresh()
    return running_bench


@pytest.fixture
def bob(bench):
    """An employee of acme, where the app is installed."""
    return bench.person("acme")
