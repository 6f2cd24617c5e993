"""Settings of the sandbox's process. `__main__` passes its options on in the environment."""

import os
import secrets
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = __name__.rpartition(".")[0]  # a copy of this folder runs under any name

SECRET_KEY = os.environ.setdefault("SANDBOX_SECRET_KEY", secrets.token_hex(25))
DEBUG = False
ALLOWED_HOSTS = ["*"]  # the Host header tells which portal is called; the sandbox listens on loopback only
INSTALLED_APPS = [f"{PACKAGE}.portal.apps.PortalConfig"]
MIDDLEWARE = [f"{PACKAGE}.wire.hosts.find_host"]
ROOT_URLCONF = f"{PACKAGE}.urls"
APPEND_SLASH = False
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE]}]  # each room has its own
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SANDBOX_DATABASE", "sandbox.sqlite3"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;",
        },
    }
}
MIGRATION_MODULES = {"sandbox": None}  # tables are created at start, never migrated
USE_TZ = True
TIME_ZONE = "UTC"
DATA_UPLOAD_MAX_MEMORY_SIZE = 20_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = None
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django.request": {"level": "ERROR"}},  # an intended 400 is no news
}

OAUTH_HOST = os.environ.get("SANDBOX_OAUTH", "localhost:8801")
