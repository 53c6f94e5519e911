"""Celery's doors. Each is a wake-up: named, keyword arguments only, harmless to lose, repeat and reorder.

`**_newer` lets an older worker survive the message of a newer release. No retries, no results: what matters is in
Postgres, and a sweep finds it again. How each maintenance task went is noted for the admin (`chat/task_runs.py`).
"""

from typing import Any
from uuid import UUID

from celery import current_app, shared_task

from chat.task_runs import noted_tick


@shared_task(name="chatworker.run_chat")
def run_chat(*, chat_id: str, **_newer: Any) -> None:
    """Run one chat until it needs nobody; its pool slot is taken for as long."""
    from chatworker import bootstep

    bootstep.run_chat(UUID(chat_id))


@shared_task(name="chatworker.heartbeat")
def heartbeat(**_newer: Any) -> None:
    """Tell every chat worker to renew its leases."""
    with noted_tick("heartbeat"):
        current_app.control.broadcast("chatd_heartbeat")


@shared_task(name="chatworker.sync_runners")
def sync_runners(**_newer: Any) -> None:
    """Tell every chat worker to compare its runners with the database."""
    with noted_tick("sync_runners"):
        current_app.control.broadcast("chatd_sync")


@shared_task(name="chatworker.acquire_waiting_chats")
def acquire_waiting_chats(**_newer: Any) -> None:
    """Wake workers for runnable chats that nobody works on."""
    from chatworker.acquisition import wake_waiting_chats

    with noted_tick("acquire_waiting_chats") as did:
        did["woken"] = wake_waiting_chats()


@shared_task(name="chatworker.cancel_expired_actions")
def cancel_expired_actions(**_newer: Any) -> None:
    """Stop waiting for clients whose deadline has passed."""
    from chatworker import deadlines

    with noted_tick("cancel_expired_actions") as did:
        did["chats"] = deadlines.cancel_expired_actions()


@shared_task(name="chatworker.reap_stale_leases")
def reap_stale_leases(**_newer: Any) -> None:
    """Delete leases that nobody renews."""
    from chatworker.leases import reap

    with noted_tick("reap_stale_leases") as did:
        did["leases"] = reap()


@shared_task(name="chatworker.archive_inactive_chats")
def archive_inactive_chats(**_newer: Any) -> None:
    """Archive what nobody touches any more, as far as the policy says so."""
    from chatworker.duties import perform

    perform("archive_inactive_chats")


@shared_task(name="chatworker.purge")
def purge(**_newer: Any) -> None:
    """Delete what has been archived for long, as far as the policy says so."""
    from chatworker.duties import perform

    perform("purge")


@shared_task(name="chatworker.finalize_stale_debug_runs")
def finalize_stale_debug_runs(**_newer: Any) -> None:
    """Close debug runs that nobody goes on with. This release records none, so there is nothing to close."""
    with noted_tick("finalize_stale_debug_runs") as did:
        did["runs"] = 0
