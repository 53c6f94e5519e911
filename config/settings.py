"""Django's settings, all from the environment; see docs/settings.md for each variable.

With no `DATABASE_URL` and no `REDIS_URL`, real servers of our own run under `CHATD_DATA_DIR`
(`config/embedded.py`); everything else is the same as in production.
"""

import hashlib
import os
from pathlib import Path

import environ

from config import embedded
from config.admin_site import UNFOLD as UNFOLD
from config.environment import Environment, refuse
from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR / ".env")

# --- Where things are ------------------------------------------------------------------------------------------

CHATD_DATA_DIR = (BASE_DIR / env.text("CHATD_DATA_DIR", ".data")).resolve()
DATABASE_URL = env.url("DATABASE_URL", ("postgres", "postgresql"))
REDIS_URL = env.url("REDIS_URL", ("redis", "rediss", "unix"))
CHATD_EMBEDDED_POSTGRES = not DATABASE_URL
CHATD_EMBEDDED_REDIS = not REDIS_URL
_embedded = embedded.addresses(CHATD_DATA_DIR)
CHATD_REDIS_URL = REDIS_URL or _embedded.redis_url

# --- Security --------------------------------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
if not SECRET_KEY:
    if DATABASE_URL and not DEBUG:
        refuse("SECRET_KEY", "", "a long random text (a production database is configured by DATABASE_URL)")
    # A laptop's key: stable across restarts, different on each machine and for each data directory.
    SECRET_KEY = hashlib.sha256(f"chatd:{os.uname().nodename}:{CHATD_DATA_DIR}".encode()).hexdigest()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", "testserver"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [])

# --- Django ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config",
    "chat",
    "chatworker",
    "pgtrigger",
    "django_celery_beat",
    "unfold",  # before the admin, whose templates it replaces; after `chat`, which replaces one of its own
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = ["config.formats"]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # the admin's files straight from the packages: nothing to collect
WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
LOGGING_CONFIG = None
logging_config(debug=DEBUG, columns=env.text("CHATD_LOG") == "columns")

# --- Postgres --------------------------------------------------------------------------------------------------

# A stopped process must not keep its row lock, and nobody waits for ever; see FAULTS in docs/architecture.md.
_SESSION = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
    "pgtrigger.ignore": "{}",  # unset, every trigger of ours would raise and catch an exception to find that out
}
if DATABASE_URL:
    _database = environ.Env.db_url_config(DATABASE_URL)
    _database["ENGINE"] = "django.db.backends.postgresql"
else:
    _database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "chatd",
        "USER": "postgres",
        "HOST": str(_embedded.postgres_socket_dir),
    }
_database.setdefault("OPTIONS", {}).update(
    options=" ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
    application_name=env.text("CHATD_PROCESS", "chatd"),
    connect_timeout=5,
    # Our statements are few and always the same: bound by the server, they are planned once per connection.
    server_side_binding=True,
    prepare_threshold=3,
    keepalives=1,
    keepalives_idle=10,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=15_000,  # ms: keepalives are not sent while something sent before is not acknowledged
)
CHATD_WEB_CONNECTIONS = env.integer("CHATD_WEB_CONNECTIONS", 10, least=1)
CHATD_STREAM_CONNECTIONS = 4  # readings of live streams at a time; each takes about a millisecond
if env.text("CHATD_PROCESS") == "web":
    # The web process lends a connection per request, from a pool that idle streams never touch.
    _database["OPTIONS"]["pool"] = {
        "min_size": 2,
        "max_size": CHATD_WEB_CONNECTIONS + CHATD_STREAM_CONNECTIONS,
        "timeout": 10,
    }
    _database["CONN_HEALTH_CHECKS"] = True
else:
    _database["CONN_MAX_AGE"] = None
DATABASES = {"default": _database}

# --- Mail: digests of what was archived; nothing is sent where EMAIL_URL is not set ---------------------------------

EMAIL_URL = env.url("EMAIL_URL", tuple(environ.Env.EMAIL_SCHEMES))
vars().update(environ.Env.email_url_config(EMAIL_URL or "dummymail://"))
EMAIL_TIMEOUT = 10  # seconds; the maintenance worker waits
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "chatd@localhost")

# --- Celery: tasks are wake-ups, acknowledged early, without results --------------------------------------------

CELERY_BROKER_URL = CHATD_REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = False
CELERY_TASK_DEFAULT_QUEUE = "chats"
CELERY_TASK_ROUTES = {"chatworker.run_chat": {"queue": "chats"}, "chatworker.*": {"queue": "maintenance"}}
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"health_check_interval": 10}
CELERY_BEAT_SCHEDULER = "chatworker.planner:Planner"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SYNC_EVERY = 20  # runs, some 10 s: how old "last ran" in the admin may be
CELERY_TIMEZONE = "UTC"

# --- Chatd -----------------------------------------------------------------------------------------------------

CHATD_MAX_CHATS = env.integer("CHATD_MAX_CHATS", 0)
CHATD_MAX_CHATS_PER_OWNER = env.integer("CHATD_MAX_CHATS_PER_OWNER", 0)
CHATD_MAX_SUB_AGENTS = env.integer("CHATD_MAX_SUB_AGENTS", 0)
CHATD_MAX_SUB_AGENTS_PER_OWNER = env.integer("CHATD_MAX_SUB_AGENTS_PER_OWNER", 0)
CHATD_WORKER_SLOTS = env.integer("CHATD_WORKER_SLOTS", max(64, CHATD_MAX_CHATS), least=1)
CELERY_WORKER_CONCURRENCY = CHATD_WORKER_SLOTS
CHATD_WORKER_PORT = env.integer("CHATD_WORKER_PORT", 0)
CHATD_HEARTBEAT_INTERVAL = env.seconds("CHATD_HEARTBEAT_INTERVAL", 5, more_than=0)
CHATD_LEASE_TTL = env.seconds("CHATD_LEASE_TTL", 20, more_than=0)
CHATD_DRAIN_TIMEOUT = env.seconds("CHATD_DRAIN_TIMEOUT", 15)
CHATD_MAX_GENERATION_RETRIES = env.integer("CHATD_MAX_GENERATION_RETRIES", 25, least=1)
CHATD_STREAM_SILENCE_TIMEOUT = env.seconds("CHATD_STREAM_SILENCE_TIMEOUT", 120, more_than=0)
CHATD_QUEUE_LIMIT = env.integer("CHATD_QUEUE_LIMIT", 20, least=1)
CHATD_AUTO_ARCHIVE_DAYS = env.integer("CHATD_AUTO_ARCHIVE_DAYS", 0)
CHATD_RETENTION_DAYS = env.integer("CHATD_RETENTION_DAYS", 0)
CHATD_ARCHIVE_DIGEST = env.flag("CHATD_ARCHIVE_DIGEST", default=bool(EMAIL_URL))
CHATD_REQUIRES_ACTION_TIMEOUT = env.seconds("CHATD_REQUIRES_ACTION_TIMEOUT", 300, more_than=0)
CHATD_DEFAULT_MODEL = env.text("CHATD_DEFAULT_MODEL")
CHATD_DEMO_MODEL_URL = env.url("CHATD_DEMO_MODEL_URL", ("http", "https")) or "http://127.0.0.1:8901/v1"
OPENAI_API_KEY = env.text("OPENAI_API_KEY")
OPENAI_BASE_URL = env.url("OPENAI_BASE_URL", ("http", "https"))
ANTHROPIC_API_KEY = env.text("ANTHROPIC_API_KEY")
GEMINI_API_KEY = env.text("GEMINI_API_KEY")

if CHATD_LEASE_TTL < 3 * CHATD_HEARTBEAT_INTERVAL:
    refuse(
        "CHATD_LEASE_TTL",
        f"{CHATD_LEASE_TTL:g}",
        f"at least three heartbeats ({3 * CHATD_HEARTBEAT_INTERVAL:g} s): a lease must outlast a late one",
    )
