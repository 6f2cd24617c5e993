"""All settings, read from the environment. .env.example explains each one; none has to be set.

Reading the settings also prepares VAR_DIR. It creates the secrets that are not set (`stored_secret`) and the folders at
the end of this file, if they are missing.
"""

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from b24app import languages
from b24app.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()
ENV_FILE = Path(env.text("ENV_FILE", default=str(BASE_DIR / ".env")))
env.read_file(ENV_FILE)

os.umask(0o077)  # only their owner may read the files that the processes write

# All files that Defer writes: the default database, the embedded broker, secrets, collected static files.
VAR_DIR = Path(env.text("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()


def stored_secret(name: str, new: str) -> str:
    """The secret in the file `name` of VAR_DIR; the first call stores `new` there. So no secret has a known default."""
    path = VAR_DIR / name
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        draft = VAR_DIR / f"{name}.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(new)
        # The link appears when the file is complete. Of several processes that start at once, the first one wins.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


# -- Django ---------------------------------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", default="") or stored_secret("secret.key", secrets.token_urlsafe(50))
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PROXY_COUNT = env.whole("PROXY_COUNT", default=0)
PUBLIC_URL = env.text("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "django_htmx",
    "b24app.apps.DeferConfig",
]
# No session, message or authentication middleware: embedded pages set no cookie. They send a ticket (web/tickets.py).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "b24app.web.middleware.SecurityHeaders",
    "b24app.web.middleware.BodyLimit",
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
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # bytes; enough for 5,000 task ids
DATA_UPLOAD_MAX_NUMBER_FIELDS = 6000
FILE_UPLOAD_HANDLERS: list[str] = []  # the app receives no file
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if PUBLIC_URL.startswith("https://") else 0

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
# Names with a hash can be cached for ever, but need `collectstatic` before every start.
if env.flag("STATIC_HASHED", default=False):
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "b24app.web.storage.HashedStaticFiles"},
    }

# -- Database -------------------------------------------------------------------------------------------------

TIME_SCALE = env.decimal("TIME_SCALE", default=1.0)  # tests divide the times of the engine by it
IDLE_IN_TRANSACTION = 30 / TIME_SCALE  # then a frozen process loses its transaction and its locks
LOCK_TIMEOUT = 20 / TIME_SCALE  # the longest wait for a row; a slice that gives up is repeated
STATEMENT_TIMEOUT = 60 / TIME_SCALE

DATABASES = {"default": env.database("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'defer.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Web, worker and beat share the file: readers never wait, writers wait up to 20 seconds for each other.
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
        # Options in DATABASE_URL come last, so they take precedence.
        _options["options"] = " ".join([*_words, _options.get("options", "")]).strip()

# -- Bitrix24 -------------------------------------------------------------------------------------------------

B24_CLIENT_ID = env.text("B24_CLIENT_ID", default="")
B24_CLIENT_SECRET = env.text("B24_CLIENT_SECRET", default="")
B24_APP_CODE = env.text("B24_APP_CODE", default="")
B24_OAUTH_URLS = env.words("B24_OAUTH_URLS", default=["https://oauth.bitrix.info", "https://oauth.bitrix24.tech"])
B24_ALLOW_LOCAL_PORTALS = env.flag("B24_ALLOW_LOCAL_PORTALS", default=False)
if B24_ALLOW_LOCAL_PORTALS:
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # without it, the OAuth libraries refuse http
B24_PORTAL_NETWORKS = env.words("B24_PORTAL_NETWORKS", default=[])
CLOCK_FILE = env.text("CLOCK_FILE", default="")
FAILPOINTS = env.text("FAILPOINTS", default="")
CREDENTIAL_KEYS = env.words("CREDENTIAL_KEYS", default=[]) or [
    stored_secret("credential.key", Fernet.generate_key().decode())
]

# The times of the engine and of its workers, in seconds. Tests divide all of them by TIME_SCALE.
ENGINE_LEASE = 90 / TIME_SCALE  # after this silence of a slice, another worker takes the portal over
ENGINE_SETTLE_AFTER = 75 / TIME_SCALE  # a lost request is not read before; the portal may work on it for 60 s
ENGINE_READ_TIMEOUT = 75 / TIME_SCALE  # how long a job waits for an answer
ENGINE_LATEST_START = 15 / TIME_SCALE  # a request that has not left by then is not sent: the two above count on it
ENGINE_LOOK_AGAIN = 5 / TIME_SCALE  # a job whose last tasks another job has under way looks again after this time
ENGINE_STATUS_MAX_AGE = 60 / TIME_SCALE  # an older status is read again before anything is sent
ENGINE_DEFERRAL_MAX_AGE = 20 / TIME_SCALE  # the same for `renew`: it would reopen a task that a user has completed
ENGINE_IN_USE = 300 / TIME_SCALE  # a portal counts as in use for this long after a page has called it
ENGINE_SLICE_SECONDS = 10 / TIME_SCALE  # after this time a slice begins no new batch
ENGINE_BATCH_SECONDS = 15 / TIME_SCALE  # what a full batch should take; the portal cuts a request at 60 s
ENGINE_FIRST_BATCH_SECONDS = 2 / TIME_SCALE  # ... and the first of a job, so that a person soon sees progress
ENGINE_PORTAL_PACE = TIME_SCALE  # a second of ours is this many seconds in the budgets of a portal
ENGINE_SWEEP_EVERY = 20 / TIME_SCALE  # a sweep finds work that has no message
ENGINE_MESSAGE_LOST_AFTER = 35 / TIME_SCALE  # then the next sweep sends an unread message again: within a minute
# Unread messages expire, so they do not pile up while no worker runs. Celery compares the clocks of two machines here,
# so this must be longer than the clocks differ.
ENGINE_MESSAGE_LIFE = 600 / TIME_SCALE
ENGINE_HEARTBEAT_EVERY = 20 / TIME_SCALE  # each worker sends itself a message
ENGINE_WORKER_SILENCE = 120 / TIME_SCALE  # a worker that has read no message for this long is not working
ENGINE_REFRESH_CLAIM = 30 / TIME_SCALE  # after this time another process may refresh the tokens

# -- Celery ---------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", default="filesystem://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Threads, because slices spend most of their time waiting for portals. A killed worker leaves no children.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 8
CELERY_WORKER_DIRECT = True  # one queue per worker, for its heartbeat (worker/heartbeat.py)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
BROKER_PATIENCE = 3.0  # seconds until a silent broker counts as unreachable
CELERY_BROKER_CONNECTION_TIMEOUT = BROKER_PATIENCE
CELERY_TASK_PUBLISH_RETRY = False  # each attempt would wait again, and the sweep sends the message later
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "b24app.worker.messages.sweep",
        "schedule": ENGINE_SWEEP_EVERY,
        "options": {"expires": ENGINE_MESSAGE_LIFE},
    }
}
if CELERY_BROKER_URL.startswith("filesystem://"):
    # An embedded broker that needs no server. It may lose a message: the sweep sends it again.
    _messages = VAR_DIR / "messages"
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # its messages would pile up as files
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
        # A person waits for the page while a message is sent. A worker polls for one second, so it is not affected.
        "socket_timeout": BROKER_PATIENCE,
        "socket_connect_timeout": BROKER_PATIENCE,
    }

# These do not apply. The app lives in frames of portals (W002), behind a proxy that ends TLS (W008), and sets no cookie
# (W016). Whether other hosts of the domain use https only is not the app's to decide (W005, W021).
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W005", "security.W008", "security.W016", "security.W021"]

# Names in the environment that look like misspelled settings (checks.py).
UNKNOWN_SETTINGS = env.unknown()

# -- Logs -----------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # At level DEBUG these two log tokens and the client secret.
    "loggers": {"requests_oauthlib": {"level": "INFO"}, "oauthlib": {"level": "INFO"}},
}

# -- Folders --------------------------------------------------------------------------------------------------

_folders = [STATIC_ROOT]  # WhiteNoise warns if it is missing
if CELERY_BROKER_URL.startswith("filesystem://"):
    _folders += [VAR_DIR / "messages", VAR_DIR / "messages-control"]
for _folder in _folders:
    _folder.mkdir(parents=True, exist_ok=True)
