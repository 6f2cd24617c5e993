"""The settings: read from the environment; none has to be set."""

import ast
import os
import stat
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from tests import machine
from tests.environment import KEPT, ROOT, bare_environment, documented_names

CHECK = ["manage.py", "check"]


@pytest.fixture
def run(tmp_path):
    """Run Python in a process with only the given settings: `run(words, NAME=value)`."""

    def run(words, **settings):
        environment = bare_environment() | {"ENV_FILE": os.devnull, "VAR_DIR": str(tmp_path / "var")} | settings
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)

    return run


def test_it_works_with_nothing_set(run):
    done = run(CHECK)
    assert done.returncode == 0, done.stderr


def test_migrations_match_the_models(run):
    assert run(["manage.py", "migrate", "--verbosity", "0"]).returncode == 0
    done = run(["manage.py", "makemigrations", "--check", "--dry-run"])
    assert done.returncode == 0, done.stdout


def test_secrets_are_stored_and_private(run, tmp_path):
    show = ["-c", "from b24app import settings; print(settings.SECRET_KEY, settings.CREDENTIAL_KEYS)"]
    first, second = run(show), run(show)
    assert first.stdout == second.stdout != ""
    modes = [stat.S_IMODE((tmp_path / "var" / name).stat().st_mode) for name in ("secret.key", "credential.key")]
    assert modes == [0o600, 0o600]
    assert sorted(path.name for path in (tmp_path / "var").glob("*.key*")) == ["credential.key", "secret.key"]


def test_every_file_is_private(run, tmp_path):
    assert run(["manage.py", "migrate", "--verbosity", "0"]).returncode == 0
    written = [tmp_path / "var", *(tmp_path / "var").rglob("*")]
    assert len(written) > 5
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def names_in_settings():
    """The name of every setting that settings.py reads from the environment."""
    tree = ast.parse((ROOT / "b24app" / "settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    first = [call.args[0] for call in calls if getattr(call.func.value, "id", "") == "env" and call.args]
    return {argument.value for argument in first if isinstance(argument, ast.Constant)}


def test_the_example_explains_every_setting():
    assert documented_names() == names_in_settings() | KEPT


def test_the_example_sets_nothing():
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_environment_wins_over_the_file(run, tmp_path):
    file = tmp_path / "settings.env"
    file.write_text("B24_CLIENT_ID=from-file\nB24_APP_CODE=from-file\n")
    show = ["-c", "from b24app import settings; print(settings.B24_CLIENT_ID, settings.B24_APP_CODE)"]
    assert run(show, ENV_FILE=str(file), B24_APP_CODE="from-environment").stdout == "from-file from-environment\n"


def test_given_keys_are_used(run):
    done = run(CHECK, CREDENTIAL_KEYS=f"{Fernet.generate_key().decode()},{Fernet.generate_key().decode()}")
    assert done.returncode == 0, done.stderr


def test_the_manual_names_every_setting():
    manual = (ROOT / "docs" / "operate.md").read_text()
    assert [name for name in sorted(names_in_settings()) if f"`{name}`" not in manual] == []


@pytest.mark.parametrize("address, seconds", [("https://defer.example", "31536000"), ("http://127.0.0.1:8000", "0")])
def test_hsts_is_sent_if_our_address_is_https(run, address, seconds):
    show = ["-c", "from b24app import settings; print(settings.SECURE_HSTS_SECONDS)"]
    assert run(show, PUBLIC_URL=address).stdout.strip() == seconds


# -- Timeouts of PostgreSQL


LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
SHOW = f"""
import django; django.setup()
from django.db import connection
with connection.cursor() as cursor:
    for name in {LIMITS}:
        cursor.execute(f"show {{name}}")
        print(*cursor.fetchone())
"""


@pytest.fixture
def on_postgres(run):
    """Like `run`, with the PostgreSQL of this machine. Returns the words that were printed."""

    def on_postgres(words, query="", **settings):
        own = {"DATABASE_URL": machine.DATABASE_URL + query, "DJANGO_SETTINGS_MODULE": "b24app.settings"}
        done = run(words, **own, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return on_postgres


@pytest.mark.postgres
def test_a_frozen_process_loses_its_locks(on_postgres):
    assert on_postgres(["-c", SHOW]) == ["30s", "20s", "1min"]
    assert on_postgres(["-c", SHOW], TIME_SCALE="20") == ["1500ms", "1s", "3s"]


@pytest.mark.postgres
def test_timeouts_in_the_address_win(on_postgres):
    assert on_postgres(["-c", SHOW], "?options=-c%20lock_timeout%3D7s") == ["30s", "7s", "1min"]


@pytest.mark.postgres
def test_migrations_have_no_statement_timeout(on_postgres):
    code = f"{SHOW.partition('with')[0]}from django.core.management import call_command\n"
    code += "call_command('migrate', plan=True, verbosity=0)\nwith" + SHOW.partition("with")[2]
    assert on_postgres(["-c", code])[-3:] == ["0", "20s", "0"]
