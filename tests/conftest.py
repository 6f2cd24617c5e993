"""Shared fixtures: the sandbox, its people, the processes of the app, and a browser."""

import json
import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest
import redis
from playwright.sync_api import sync_playwright

from tests import machine
from tests.processes import App
from tests.sandbox_client import Sandbox, free_ports

SQLITE, SERVERS = "sqlite+filesystem", "postgres+redis"
TIME_SCALE = 20  # the times of the engine are divided by it
APP_CODE = "example.defer"


# -- Skipped tests ---------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if {"empty_broker", "deployment"} & set(item.fixturenames):
            item.add_marker("workers")
        if "playwright" in item.fixturenames:
            item.add_marker("browser")
    for need in machine.NEEDS:
        needy = [item for item in items if item.get_closest_marker(need.marker)]
        if needy and not need.is_met():
            for item in needy:
                item.add_marker(pytest.mark.skip(reason=need.advice))


def pytest_terminal_summary(terminalreporter):
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("skipped")
    for reason, number in reasons.items():
        terminalreporter.line(f"{number} tests: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(autouse=True)
def open_gates():
    """No test inherits the time-outs that another test has counted."""
    from b24app.portals import gate

    gate.reset()


# -- The sandbox -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def app_port():
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory, app_port):
    """Two portals, "acme" and "umbrella", and their OAuth server. The app that they know answers at `app_port`."""
    directory = tmp_path_factory.mktemp("sandbox")
    sandbox = Sandbox.start(directory, portals=("acme", "umbrella"), app_origin=f"http://127.0.0.1:{app_port}")
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox):
    """The sandbox with empty portals: no people, no tasks, no app installed."""
    running_sandbox.reset()
    return running_sandbox


def settings_for(sandbox):
    """The environment variables with which the app uses this sandbox."""
    return {
        "B24_CLIENT_ID": sandbox.client_id,
        "B24_CLIENT_SECRET": sandbox.client_secret,
        "B24_APP_CODE": APP_CODE,
        "B24_OAUTH_URLS": f"http://{sandbox.oauth}",
        "B24_ALLOW_LOCAL_PORTALS": "true",
    }


# -- In the test's own process ---------------------------------------------------------------------------------


@pytest.fixture
def at_sandbox(sandbox, settings, monkeypatch, app_port):
    """The sandbox, with the settings of this process pointing at it."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    for name, value in settings_for(sandbox).items():
        setattr(settings, name, value)
    settings.B24_OAUTH_URLS = [settings.B24_OAUTH_URLS]
    settings.B24_ALLOW_LOCAL_PORTALS = True
    settings.PUBLIC_URL = f"http://127.0.0.1:{app_port}"
    return sandbox


@pytest.fixture
def open_as(at_sandbox, db):
    """Open the app as a user of a portal: `open_as("acme", 5)` returns our Person with a proven credential.

    The portal must have the app installed, and the user must exist. Pass placement= and options= as to Sandbox.open.
    """
    from b24app.bitrix.client import Command
    from b24app.bitrix.payloads import read_opening
    from b24app.portals import openings

    def open_as(portal, user, **placement):
        opening = at_sandbox.open(portal, user, **placement)
        read = read_opening(opening["query"], opening["fields"])
        return openings.open_page(read, Command("admin", "user.admin"), timeout=10).person

    return open_as


@pytest.fixture
def person(at_sandbox, open_as):
    """Bob, an ordinary employee of acme, who has opened the installed app."""
    number = at_sandbox.user("acme", name="Bob", last_name="Worker")
    at_sandbox.install("acme")
    return open_as("acme", number)


# -- The app's processes ---------------------------------------------------------------------------------------


STACKS = [SQLITE, pytest.param(SERVERS, marks=[pytest.mark.postgres, pytest.mark.redis])]


@pytest.fixture(params=STACKS)
def stack(request):
    """The database and broker of the processes. A test for only one of them parametrises this fixture indirectly."""
    return request.param


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory, app_port):
    """A migrated SQLite file, for copying."""
    directory = tmp_path_factory.mktemp("template")
    path = directory / "template.sqlite3"
    App(directory, app_port, f"sqlite:///{path}", {}).manage("migrate")
    return path


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory, app_port):
    """The name of a migrated PostgreSQL database, for copying."""
    name = f"defer_template_{uuid.uuid4().hex[:8]}"
    create_database(name)
    App(tmp_path_factory.mktemp("template"), app_port, database_url(name), {}).manage("migrate")
    yield name
    drop_database(name)


def database_url(name):
    server, _, _ = machine.DATABASE_URL.rpartition("/")
    return f"{server}/{name}"


def create_database(name, template="template1"):
    with psycopg.connect(machine.DATABASE_URL, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(name):
    with psycopg.connect(machine.DATABASE_URL, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def migrated_database(request, stack, directory):
    """The address of a migrated database without rows. It exists until the block ends."""
    if stack == SQLITE:
        path = directory / "app.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    name = f"defer_test_{uuid.uuid4().hex[:8]}"
    create_database(name, request.getfixturevalue("postgres_template"))
    try:
        yield database_url(name)
    finally:
        drop_database(name)


def broker_without_messages(stack):
    if stack == SQLITE:
        return "filesystem://"
    with redis.from_url(machine.REDIS_URL) as client:
        client.flushdb()
    return machine.REDIS_URL


@pytest.fixture
def empty_database(request, stack, tmp_path):
    """The address of a migrated database for one test."""
    with migrated_database(request, stack, tmp_path) as url:
        yield url


@pytest.fixture
def empty_broker(stack):
    """The address of a broker without messages."""
    return broker_without_messages(stack)


@pytest.fixture
def app(sandbox, empty_database, empty_broker, app_port, tmp_path):
    """The app, known to the sandbox, without running processes: see tests/processes.py."""
    own = {"CELERY_BROKER_URL": empty_broker, "TIME_SCALE": str(TIME_SCALE)}
    app = App(tmp_path, app_port, empty_database, settings_for(sandbox) | own)
    sandbox.keep_pace(TIME_SCALE)
    yield app
    app.kill_all()


# -- A browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def chromium(playwright, tmp_path):
    """A Chromium with a new profile that blocks third-party cookies. It is closed after the test."""
    profile = tmp_path / "chromium"
    (profile / "Default").mkdir(parents=True)
    blocking = {"profile": {"cookie_controls_mode": 1, "block_third_party_cookies": True}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocking))
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=machine.chromium(),
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        viewport={"width": 1280, "height": 800},
        reduced_motion="reduce",  # a click on a frame that is still moving would hit the page around it
    )
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def console(chromium):
    """All errors that the pages of the browser report. The test fails if one is not expected.

    A test that causes an error on purpose adds a part of its text to `console.expected`.
    """
    console = SimpleNamespace(errors=[], expected=[])
    chromium.on("console", lambda message: message.type == "error" and console.errors.append(message.text))
    chromium.on("weberror", lambda error: console.errors.append(str(error.error)))
    yield console
    unexpected = [text for text in console.errors if not any(part in text for part in console.expected)]
    assert unexpected == []


@pytest.fixture
def page(chromium, console):
    """A page of 1280 × 800 pixels. Third-party cookies are blocked; the console may show no errors."""
    return chromium.pages[0] if chromium.pages else chromium.new_page()
