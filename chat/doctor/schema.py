"""The schema: whether every migration is applied, and whether every trigger of the models guards its table."""

from collections.abc import Iterator

import pgtrigger.registry
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from chat.doctor.finding import Finding, ok, problem, warning
from chat.doctor.site import Site


def migrations(site: Site) -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    plan = [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    known, applied = executor.loader.disk_migrations, executor.loader.applied_migrations
    newer = sorted(
        f"{app}.{name}" for app, name in applied if app in executor.loader.migrated_apps and (app, name) not in known
    )
    if plan:
        says = f"{len(plan)} are not applied: {', '.join(plan[:3])}{' …' if len(plan) > 3 else ''}."
        yield problem(says, "Run manage.py migrate.", missing=plan)
    if newer:
        says = f"The database has migrations that this code does not know: {', '.join(newer[:3])}."
        yield warning(
            says, "Deploy the newer release here too; in the middle of an upgrade this passes.", unknown=newer
        )
    if not plan and not newer:
        yield ok("All are applied.")


def triggers(site: Site) -> Iterator[Finding]:
    wanted = {
        (model._meta.db_table, trigger.get_pgid(model)): (trigger.name, trigger.compile(model).hash)
        for model, trigger in pgtrigger.registry.registered()
    }
    with connection.cursor() as cursor:
        cursor.execute(
            r"""SELECT relname, tgname, obj_description(trigger.oid, 'pg_trigger'), tgenabled
                FROM pg_trigger trigger JOIN pg_class ON pg_class.oid = tgrelid
                WHERE tgname LIKE 'pgtrigger\_%' AND pg_table_is_visible(tgrelid)"""
        )
        found = {(table, pgid): (digest, enabled) for table, pgid, digest, enabled in cursor.fetchall()}
        cursor.execute("SELECT current_setting('session_replication_role')")
        (role,) = cursor.fetchone()
    wrong: dict[str, list[str]] = {"missing": [], "not as in the models": [], "disabled": []}
    for (table, pgid), (name, digest) in wanted.items():
        there = found.get((table, pgid))
        if there is None:
            wrong["missing"].append(f"{name} of {table}")
        elif there[0] != digest:
            wrong["not as in the models"].append(f"{name} of {table}")
        elif there[1] not in ("O", "A"):
            wrong["disabled"].append(f"{name} of {table}")
    for how, names in wrong.items():
        if names:
            says = f"{how.capitalize()}: {', '.join(names)}. Versions and the one door are not guarded."
            yield problem(says, f"Run manage.py pgtrigger {_CURE[how]}.", triggers=names)
    if role != "origin":
        says = f"session_replication_role is {role}: no trigger fires."
        yield problem(says, "ALTER ROLE … RESET session_replication_role, and look for it in DATABASE_URL.")
    if not any(wrong.values()) and role == "origin":
        yield ok(f"All {len(wanted)} are there.")


_CURE = {"missing": "install", "not as in the models": "install", "disabled": "enable"}
