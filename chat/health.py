"""For whoever watches the process: `/healthz` (it answers) and `/readyz` (it could serve: database, Redis, schema)."""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from redis.backoff import NoBackoff
from redis.retry import Retry

CHECK_TIMEOUT = 2.0


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200, or 503 with what is missing."""
    checks = {"database": _database, "redis": _redis, "migrations": _migrations}
    results = {name: _result(check) for name, check in checks.items()}
    ready = all(result == "ok" for result in results.values())
    return JsonResponse({"status": "ok" if ready else "not ready", "checks": results}, status=200 if ready else 503)


def _result(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # a probe reports whatever is wrong
        return f"failed: {type(error).__name__}"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    with redis.Redis.from_url(
        settings.CHATD_REDIS_URL,
        socket_timeout=CHECK_TIMEOUT,
        socket_connect_timeout=CHECK_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        client.ping()
    return "ok"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(missing)} to apply: run manage.py migrate" if missing else "ok"
