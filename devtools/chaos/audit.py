"""Every committed change of a chat's row, and every start of a chat worker, kept by triggers that only the stacks of
this suite have.

A row says who wrote (the process's name, which it gives to Postgres as `application_name`), when, and what the chat
was then. What was rolled back is not in it, what was committed cannot be missing, and the rows of one chat are in the
order in which its changes happened, because each was written under the chat's lock.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

INSTALL = """
CREATE TABLE IF NOT EXISTS chaos_audit (
    id bigserial PRIMARY KEY, at double precision NOT NULL, xid text NOT NULL, process text NOT NULL,
    chat_id text NOT NULL, snapshot_version bigint NOT NULL, history_version bigint NOT NULL, status text NOT NULL,
    attempt integer NOT NULL, worker_id text, runner_id text, queue_version bigint NOT NULL);
CREATE INDEX IF NOT EXISTS chaos_audit_of_chat ON chaos_audit (chat_id, id);
CREATE OR REPLACE FUNCTION chaos_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_audit
        (at, xid, process, chat_id, snapshot_version, history_version, status, attempt, worker_id, runner_id,
        queue_version)
    VALUES (extract(epoch FROM clock_timestamp()), pg_current_xact_id()::text, current_setting('application_name'),
        NEW.id, NEW.snapshot_version, NEW.history_version, NEW.status, NEW.generation_attempt,
        NEW.worker_id, NEW.runner_id, NEW.queue_version);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER chaos_audit AFTER INSERT OR UPDATE ON chat_chat
    FOR EACH ROW EXECUTE FUNCTION chaos_audit();
CREATE TABLE IF NOT EXISTS chaos_worker (worker_id text PRIMARY KEY, at double precision NOT NULL);
CREATE OR REPLACE FUNCTION chaos_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_worker (worker_id, at) VALUES (NEW.worker_id, extract(epoch FROM clock_timestamp()))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER chaos_worker AFTER INSERT ON chat_workerprocess
    FOR EACH ROW EXECUTE FUNCTION chaos_worker();
INSERT INTO chaos_worker SELECT worker_id, 0 FROM chat_workerprocess ON CONFLICT DO NOTHING;
"""
SELECT = """
SELECT xid, at, process, chat_id, snapshot_version, history_version, status, attempt, worker_id, runner_id,
    queue_version
FROM chaos_audit WHERE at >= %s ORDER BY id
"""
STARTS = "SELECT worker_id, at FROM chaos_worker"
"""`at` is 0 for those that were there before the audit."""
RUNNABLE = frozenset({"running", "interrupting"})


@dataclass(frozen=True, slots=True)
class Move:
    """What one transaction left of a chat. `at`: seconds since the epoch; `process`: the role that wrote."""

    at: float
    process: str
    chat_id: str
    snapshot_version: int
    history_version: int
    status: str
    attempt: int
    worker_id: str | None
    runner_id: str | None
    queue_version: int = 0

    @property
    def is_runnable(self) -> bool:
        return self.status in RUNNABLE

    @property
    def is_by_chat_worker(self) -> bool:
        return self.process.startswith("chat-worker")


def starts_of(rows: Iterable[Sequence[Any]], *, since: float, there: Collection[str]) -> dict[str, float]:
    """Rows of STARTS of those chat workers that were `there` at `since`, or started later: earlier ones are gone."""
    return {worker_id: at for worker_id, at in rows if at >= since or worker_id in there}


Moves = dict[str, list[Move]]
"""The moves of each chat, in order."""


def moves_of(rows: Iterable[Sequence[Any]]) -> Moves:
    """Rows of SELECT as moves: one for each transaction, which may have touched its chat's row several times."""
    last_xid: dict[str, str] = {}
    moves: Moves = {}
    for xid, *fields in rows:
        move = Move(*fields)
        of_chat = moves.setdefault(move.chat_id, [])
        if last_xid.get(move.chat_id) == xid:
            of_chat.pop()
        last_xid[move.chat_id] = xid
        of_chat.append(move)
    return moves
