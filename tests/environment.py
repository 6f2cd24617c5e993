"""Loaded before Django: tests use their own VAR_DIR and none of the settings of this machine."""

import os
import re
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = {"TEST_DATABASE_URL", "TEST_REDIS_URL", "CHROMIUM"}


def documented_names():
    """The name of every setting in .env.example."""
    return set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def bare_environment():
    """The environment of this process without the settings of the app."""
    names = documented_names() - KEPT
    return {name: value for name, value in os.environ.items() if name not in names}


for name in documented_names() - KEPT:
    os.environ.pop(name, None)
os.environ["ENV_FILE"] = os.devnull
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="defer-tests-")
# Playwright runs an event loop in the main thread. Without this, Django would refuse to query the database there.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def pytest_unconfigure():
    shutil.rmtree(os.environ["VAR_DIR"], ignore_errors=True)
