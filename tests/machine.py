"""What this machine has besides Python. Tests that need more are skipped, and the summary says how to get it."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")


def redis_of_this_process(url):
    """The Redis database of this process. Tests clear it, so parallel processes use different numbers: n, n - 1, …"""
    server, _, number = url.rpartition("/")
    return f"{server}/{int(number) - int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"


REDIS_URL = redis_of_this_process(os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15"))
ROOT = Path(__file__).parent.parent
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


@functools.cache
def chromium():
    """The path of a Chromium, or None."""
    return shutil.which(os.environ.get("CHROMIUM", "")) or next(filter(None, map(shutil.which, BROWSERS)), None)


@functools.cache
def postgres_answers():
    try:
        psycopg.connect(DATABASE_URL, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


@functools.cache
def redis_answers():
    try:
        with redis.from_url(REDIS_URL, socket_connect_timeout=3) as client:
            return client.ping()
    except redis.ConnectionError:
        return False


@functools.cache
def python_with(pins, *options):
    """The Python of an environment with the packages in the file `pins`, installed with these options of pip.

    Created if missing; None if that fails.
    """
    content = pins.read_bytes() + (ROOT / "constraints.txt").read_bytes()
    home = ROOT / "var" / "environments" / f"{pins.stem}-{hashlib.sha256(content).hexdigest()[:12]}"
    python, complete = home / "bin" / "python", home / "complete"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # all processes of a test run call this
        if not complete.exists():
            make = [sys.executable, "-m", "venv", home]
            fill = [python, "-m", "pip", "install", "--quiet", *options, "--requirement", pins]
            if any(subprocess.run(command, stdout=subprocess.DEVNULL).returncode for command in (make, fill)):
                return None
            complete.touch()
    return python


def pysdk_python():
    """The Python of an environment with the vendor's library; None if it cannot be installed."""
    return python_with(ROOT / "tests" / "conformance" / "pysdk.txt", "--no-deps")


def production_python():
    """The Python of an environment made from requirements.txt only; None if it cannot be installed."""
    return python_with(ROOT / "requirements.txt")


@dataclass(frozen=True)
class Need:
    """What the tests with a marker need, and how to get it."""

    marker: str
    is_met: object
    advice: str


NEEDS = [
    Need("browser", chromium, "no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM"),
    Need(
        "postgres",
        postgres_answers,
        "no PostgreSQL at TEST_DATABASE_URL: start one (Debian: apt-get install postgresql) or set the address",
    ),
    Need(
        "production",
        production_python,
        "no environment of production: requirements.txt could not be installed; make a package index reachable for pip",
    ),
    Need(
        "pysdk",
        pysdk_python,
        "no b24pysdk: tests/conformance/pysdk.txt could not be installed; make a package index reachable for pip",
    ),
    Need(
        "redis",
        redis_answers,
        "no Redis at TEST_REDIS_URL: start one (Debian: apt-get install redis-server) or set the address",
    ),
]
