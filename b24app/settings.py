"""All settings, read from the environment. Every name is explained in .env.example; none has to be set."""

import contextlib
import os
import secrets
from pathlib import Path

import environ
from cryptography.fernet import Fernet

from b24app import languages

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
ENV_FILE = Path(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))
if ENV_FILE.is_file():
    environ.Env.read_env(ENV_FILE)

# Everything that is ours to write: database, embedded broker, keys, collected files.
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()
VAR_DIR.mkdir(parents=True, exist_ok=True)


def kept_secret(name: str, make: str) -> str:
    """The secret kept in var/`name`, made on first use: nothing set must not mean a known default."""
    path = VAR_DIR / name
    if not path.exists():
        draft = VAR_DIR / f"{name}.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(make)
        # Linked when it is complete: of several processes that start at once the first one's holds for all.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


# -- Django ---------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret("secret.key", secrets.token_urlsafe(50))
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PROXY_COUNT = env.int("PROXY_COUNT", default=0)
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "django_htmx",
    "b24app.apps.DeferConfig",
]
# No session, message or authentication middleware: embedded pages set no cookie and have no ambient login.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "b24app.web.middleware.SecurityHeaders",
    "b24app.web.middleware.DatabaseOutage",
]
ROOT_URLCONF = "b24app.urls"
WSGI_APPLICATION = "b24app.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request"],
            "builtins": ["django.templatetags.i18n", "django.templatetags.static", "b24app.web.filters"],
        },
    }
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [(language.locale, language.name) for language in languages.LANGUAGES]
LOCALE_PATHS = [BASE_DIR / "locale"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # bytes; 5,000 task ids fit well
DATA_UPLOAD_MAX_NUMBER_FIELDS = 6000
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if PUBLIC_URL.startswith("https://") else 0

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns where there is none
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
# Names with a hash, cached for ever, where `collectstatic` is part of every start; plain names elsewhere.
if env.bool("STATIC_HASHED", default=False):
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "b24app.web.storage.HashedStaticFiles"},
    }

# -- Database -------------------------------------------------------------------------------------------------

TIME_SCALE = env.float("TIME_SCALE", default=1.0)  # tests divide the engine's times, in seconds, by it
IDLE_IN_TRANSACTION = 30 / TIME_SCALE  # a process that froze in a transaction keeps its locks no longer
LOCK_TIMEOUT = 20 / TIME_SCALE  # nobody waits longer for a row; a slice that gave up is tried again
STATEMENT_TIMEOUT = 60 / TIME_SCALE

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'defer.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Web, worker and beat share the file: readers never wait, writers queue up to 20 s.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        _limits = {
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
            "lock_timeout": LOCK_TIMEOUT,
            "statement_timeout": STATEMENT_TIMEOUT,
        }
        _options = DATABASES["default"].setdefault("OPTIONS", {})
        _words = [f"-c {name}={round(seconds * 1000)}" for name, seconds in _limits.items()]
        # What DATABASE_URL says itself comes last, and wins.
        _options["options"] = " ".join([*_words, _options.get("options", "")]).strip()

# -- Bitrix24 -------------------------------------------------------------------------------------------------

B24_CLIENT_ID = env.str("B24_CLIENT_ID", default="")
B24_CLIENT_SECRET = env.str("B24_CLIENT_SECRET", default="")
B24_APP_CODE = env.str("B24_APP_CODE", default="")
B24_OAUTH_URLS = env.list("B24_OAUTH_URLS", default=["https://oauth.bitrix.info", "https://oauth.bitrix24.tech"])
B24_ALLOW_LOCAL_PORTALS = env.bool("B24_ALLOW_LOCAL_PORTALS", default=False)
if B24_ALLOW_LOCAL_PORTALS:
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the libraries' own switch: they refuse http otherwise
B24_PORTAL_NETWORKS = env.list("B24_PORTAL_NETWORKS", default=[])
CLOCK_FILE = env.str("CLOCK_FILE", default="")
FAILPOINTS = env.str("FAILPOINTS", default="")
CREDENTIAL_KEYS = env.list("CREDENTIAL_KEYS", default=[]) or [
    kept_secret("credential.key", Fernet.generate_key().decode())
]

# Times of the engine, in seconds. Tests divide all of them by the same number.
LEASE = 90 / TIME_SCALE  # a slice that fell silent for so long is taken over
SETTLE_AFTER = 75 / TIME_SCALE  # a portal may work on a request for 60 s after it was cut
READ_TIMEOUT = 75 / TIME_SCALE
STATUS_IS_FRESH = 60 / TIME_SCALE  # a status read longer ago is read again before anything is sent
DEFERRAL_IS_FRESH = 20 / TIME_SCALE  # the same for a task to be renewed: that would reopen one completed meanwhile
IN_USE = 300 / TIME_SCALE  # a portal that a page asked so lately has somebody at the app
SLICE_SECONDS = 10 / TIME_SCALE  # a slice begins no new step after so long
BATCH_SECONDS = 15 / TIME_SCALE  # what a full batch should take; the portal cuts a request at 60
FIRST_BATCH_SECONDS = 2 / TIME_SCALE  # ... and the first of a job, so that a person sees it move within three
PORTAL_PACE = TIME_SCALE  # seconds that a portal's budgets count in a second of ours
SWEEP_EVERY = 20 / TIME_SCALE
MESSAGE_LOST = 35 / TIME_SCALE  # a message that nobody has read by then is sent anew by the next sweep: within a minute
# A night without workers leaves no pile. Celery compares two machines' clocks here, so this is longer than they differ.
MESSAGE_LIFE = 600 / TIME_SCALE
HEARTBEAT_EVERY = 20 / TIME_SCALE  # each worker's message to itself
WORKER_SILENCE = 120 / TIME_SCALE  # a worker that has read no message for so long has stopped working
REFRESH_CLAIM = 30 / TIME_SCALE  # a refresh that takes longer was cut; another may try

# -- Celery ---------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Threads: slices wait for portals nearly all of their time, and a killed worker leaves no children behind.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 8
CELERY_WORKER_DIRECT = True  # a queue of its own for each, for its messages to itself (worker/heartbeat.py)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
BROKER_PATIENCE = 3.0  # seconds until a broker that says nothing is taken for unreachable
CELERY_BROKER_CONNECTION_TIMEOUT = BROKER_PATIENCE
CELERY_TASK_PUBLISH_RETRY = False  # each attempt would wait anew, and the sweep hints again
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "b24app.worker.messages.sweep", "schedule": SWEEP_EVERY, "options": {"expires": MESSAGE_LIFE}}
}
if CELERY_BROKER_URL.startswith("filesystem://"):
    # An embedded broker that needs no server. It may lose a message: the sweep sends it again.
    _messages = VAR_DIR / "messages"
    _messages.mkdir(exist_ok=True)
    (VAR_DIR / "messages-control").mkdir(exist_ok=True)
    # Nobody asks such a worker questions, and its answers would pile up as files.
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_messages),
        "data_folder_out": str(_messages),
        "control_folder": str(VAR_DIR / "messages-control"),
        "polling_interval": 0.1,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 300,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        # Somebody waits at a page while a hint is sent. A worker asks for one second at a time, so these suit it too.
        "socket_timeout": BROKER_PATIENCE,
        "socket_connect_timeout": BROKER_PATIENCE,
    }

# -- Logs -----------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # At DEBUG these two print tokens and the client secret.
    "loggers": {"requests_oauthlib": {"level": "INFO"}, "oauthlib": {"level": "INFO"}},
}
