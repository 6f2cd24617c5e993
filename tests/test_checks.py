"""Unsafe settings: web, worker, beat and `manage.py check` refuse them and name each one."""

import base64
import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from b24app import checks
from b24app.environment import Environment
from tests.environment import ROOT, bare_environment

PRODUCTION = {
    "PUBLIC_URL": "https://defer.example",
    "ALLOWED_HOSTS": ["defer.example"],
    "B24_CLIENT_ID": "app.1",
    "B24_CLIENT_SECRET": "secret",
    "B24_APP_CODE": "acme.defer",
}
DEMO = {"PUBLIC_URL": "http://127.0.0.1:8000", "B24_ALLOW_LOCAL_PORTALS": True}
UNSAFE = [
    ("DEBUG", True),
    ("B24_ALLOW_LOCAL_PORTALS", True),
    ("CLOCK_FILE", "/tmp/clock"),
    ("FAILPOINTS", "/tmp/plans"),
    ("TIME_SCALE", 1000.0),
    ("TIME_SCALE", 0.0),
    ("TIME_SCALE", float("nan")),
    ("SECRET_KEY", "x"),
    ("SECRET_KEY", "x" * 50),
    ("ALLOWED_HOSTS", ["*"]),
    ("ALLOWED_HOSTS", ["other.example"]),
    ("CREDENTIAL_KEYS", ["not base64!"]),
    ("CREDENTIAL_KEYS", [base64.urlsafe_b64encode(b"k" * 16).decode()]),
    ("CREDENTIAL_KEYS", [Fernet.generate_key().decode(), "c2hvcnQ="]),
    ("PUBLIC_URL", "http://defer.example"),
    ("PUBLIC_URL", "defer.example"),
    ("PUBLIC_URL", "https://defer.example/app"),
    ("PUBLIC_URL", "https://[defer.example"),
    ("B24_OAUTH_URLS", ["http://oauth.example"]),
    ("B24_OAUTH_URLS", ["https://oauth.example", "oauth.bitrix.info"]),
    ("B24_OAUTH_URLS", ["https://user@oauth.example"]),
    ("B24_PORTAL_NETWORKS", ["0.0.0.0/0"]),
    ("B24_PORTAL_NETWORKS", ["::/0"]),
    ("B24_PORTAL_NETWORKS", ["10.0.0.0/8", "10.0.0.1/8"]),
    ("B24_PORTAL_NETWORKS", ["ten"]),
    ("PROXY_COUNT", -1),
    ("B24_CLIENT_ID", ""),
    ("B24_CLIENT_SECRET", ""),
    ("B24_APP_CODE", ""),
    ("UNKNOWN_SETTINGS", {"B24_CLIENT_SECERT": "B24_CLIENT_SECRET"}),
]


def set_all(settings, values):
    for name, value in values.items():
        setattr(settings, name, value)


def names():
    return {found.setting for found in checks.problems()}


def test_production_is_accepted(settings):
    set_all(settings, PRODUCTION)
    assert checks.problems() == []


@pytest.mark.parametrize("setting, value", UNSAFE)
def test_production_refuses(settings, setting, value):
    set_all(settings, PRODUCTION | {setting: value})
    assert (set(value) if setting == "UNKNOWN_SETTINGS" else {setting}) <= names()


@pytest.mark.parametrize("setting", ["DEBUG", "CLOCK_FILE", "FAILPOINTS", "TIME_SCALE"])
def test_a_demo_accepts(settings, setting):
    set_all(settings, DEMO | {setting: {"DEBUG": True, "TIME_SCALE": 20.0}.get(setting, "/tmp/file")})
    assert checks.problems() == []


@pytest.mark.parametrize("setting", ["CLOCK_FILE", "FAILPOINTS", "TIME_SCALE"])
def test_only_a_demo_accepts(settings, setting):
    set_all(
        settings, DEMO | {"B24_ALLOW_LOCAL_PORTALS": False, setting: 20.0 if setting == "TIME_SCALE" else "/tmp/file"}
    )
    assert names() == {setting}


def test_no_problem_shows_a_secret(settings):
    set_all(settings, PRODUCTION | {"SECRET_KEY": "hunter2", "CREDENTIAL_KEYS": ["hunter2"]})
    assert "hunter2" not in "".join(map(str, checks.problems()))


# -- Processes --------------------------------------------------------------------------------------------------

COMMANDS = {
    "check": ["manage.py", "check"],
    "web": ["-m", "gunicorn", "b24app.wsgi", "--bind", "127.0.0.1:0"],
    "worker": ["-m", "celery", "-A", "b24app", "worker"],
    "beat": ["-m", "celery", "-A", "b24app", "beat"],
}
TOGETHER = {
    "PUBLIC_URL": "http://defer.example",
    "ALLOWED_HOSTS": "*",
    "DEBUG": "true",
    "B24_ALLOW_LOCAL_PORTALS": "true",
    "CLOCK_FILE": "/tmp/clock",
    "FAILPOINTS": "/tmp/plans",
    "TIME_SCALE": "1000",
    "SECRET_KEY": "x",
    "CREDENTIAL_KEYS": "c2hvcnQ=",
    "B24_OAUTH_URLS": "oauth.example",
    "B24_PORTAL_NETWORKS": "0.0.0.0/0",
    "B24_CLIENT_SECERT": "secret",
}


def start(words, tmp_path, **own):
    """Run a process of the app with only these settings until it ends."""
    environment = bare_environment() | {"ENV_FILE": os.devnull, "VAR_DIR": str(tmp_path / "var")} | own
    del environment["DJANGO_ALLOW_ASYNC_UNSAFE"]  # it is for this test run only
    code = [sys.executable, *words]
    return subprocess.run(code, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("process", COMMANDS)
def test_every_process_refuses_unsafe_settings(tmp_path, process):
    done = start(COMMANDS[process], tmp_path, **TOGETHER)
    assert done.returncode != 0
    assert [name for name in TOGETHER if name not in done.stderr + done.stdout] == []


@pytest.mark.parametrize("process", COMMANDS)
def test_every_process_names_a_garbled_setting(tmp_path, process):
    done = start(COMMANDS[process], tmp_path, PROXY_COUNT="two")
    assert done.returncode != 0
    assert "PROXY_COUNT must be a whole number" in done.stderr + done.stdout


def test_check_deploy_has_no_warning(tmp_path):
    own = PRODUCTION | {"ALLOWED_HOSTS": "defer.example", "SECRET_KEY": "s3cr3t-of-this-test-" * 4}
    done = start(["manage.py", "check", "--deploy", "--fail-level", "WARNING"], tmp_path, **own)
    assert done.returncode == 0, done.stderr


# -- Spelling ---------------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch):
    """An Environment with only the given names: `read(NAME=value)`."""

    def read(**values):
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        return Environment()

    return read


@pytest.mark.parametrize("text", ["a, b", " a ,b ", "a,,b,", "a,b"])
def test_blanks_in_a_list_do_not_count(read, text):
    assert read(NAMES=text).words("NAMES", []) == ["a", "b"]


@pytest.mark.parametrize("text", ["", " ", ","])
def test_an_empty_list_is_not_set(read, text):
    assert read(NAMES=text).words("NAMES", ["default"]) == ["default"]


@pytest.mark.parametrize("text, value", [("true", True), (" YES ", True), ("1", True), ("Off", False), ("0", False)])
def test_a_flag_has_several_spellings(read, text, value):
    assert read(FLAG=text).flag("FLAG", not value) is value


@pytest.mark.parametrize(
    "method, text", [("flag", "ture"), ("whole", "1.5"), ("decimal", "one"), ("database", "postgre://localhost/defer")]
)
def test_a_garbled_value_names_its_setting(read, method, text):
    default = "sqlite://:memory:" if method == "database" else 0
    with pytest.raises(ImproperlyConfigured, match=r"^SETTING must be") as refusal:
        getattr(read(SETTING=text), method)("SETTING", default)
    assert text not in str(refusal.value)


def test_a_misspelled_name_is_found(read, tmp_path, monkeypatch):
    monkeypatch.setenv("PUBLIC_URI", "")  # so that what the file sets is removed after the test
    monkeypatch.setenv("OTHER", "")
    file = tmp_path / "settings.env"
    file.write_text("export PUBLIC_URI=https://defer.example\nOTHER=1\n")
    environment = read(ALLOWED_HOST="defer.example", B24_NETWORK="", EDITOR="vi")
    environment.read_file(file)
    for name in ("ALLOWED_HOSTS", "PUBLIC_URL", "B24_PORTAL_NETWORKS"):
        environment.text(name)
    assert environment.unknown() == {"ALLOWED_HOST": "ALLOWED_HOSTS", "B24_NETWORK": "", "PUBLIC_URI": "PUBLIC_URL"}
