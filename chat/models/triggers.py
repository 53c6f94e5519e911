"""The rules that the database itself keeps, whoever writes: versions, `updated_at`, and the guard of the one door.

A chat row remembers in `snapshot_xid` the transaction that last advanced its snapshot. A message or queue row may
only be written in that same transaction, so nothing can slip past `chat_update`, neither raw SQL nor a bulk insert.
A rolled back savepoint takes the mark back with everything else.
"""

import pgtrigger

touch_updated_at = pgtrigger.Trigger(
    name="touch_updated_at",
    operation=pgtrigger.Insert | pgtrigger.Update,
    when=pgtrigger.Before,
    func="""
        IF TG_OP = 'INSERT' THEN
            NEW.updated_at := statement_timestamp();
        ELSE
            NEW.updated_at := OLD.updated_at;
            IF NEW IS DISTINCT FROM OLD THEN
                NEW.updated_at := statement_timestamp();
            END IF;
        END IF;
        RETURN NEW;
    """,
)

chat_versions = pgtrigger.Trigger(
    name="chat_versions",
    operation=pgtrigger.Insert | pgtrigger.Update,
    when=pgtrigger.Before,
    func="""
        IF NEW.retry_state_version <> (CASE WHEN TG_OP = 'UPDATE' THEN OLD.retry_state_version ELSE 0 END) THEN
            RAISE EXCEPTION 'retry_state_version follows retry_state and is never written by hand'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'chat_retry_state_version_follows';
        END IF;
        -- Since when the chat waits for a worker; what happens to it meanwhile does not cost it its place.
        NEW.waiting_since := CASE
            WHEN NEW.runner_id IS NOT NULL OR NEW.archived OR NEW.status NOT IN ('running', 'interrupting') THEN NULL
            WHEN TG_OP = 'UPDATE' THEN coalesce(OLD.waiting_since, statement_timestamp())
            ELSE statement_timestamp() END;
        IF TG_OP = 'INSERT' THEN
            NEW.snapshot_xid := pg_current_xact_id()::text::bigint;
            NEW.retry_state_version := CASE WHEN NEW.retry_state IS NULL THEN 0 ELSE NEW.snapshot_version END;
            RETURN NEW;
        END IF;
        IF NEW.snapshot_version < OLD.snapshot_version OR NEW.history_version < OLD.history_version
                OR NEW.queue_version < OLD.queue_version THEN
            RAISE EXCEPTION 'the versions of a chat never go down'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'chat_versions_never_go_down';
        END IF;
        NEW.snapshot_xid := CASE WHEN NEW.snapshot_version > OLD.snapshot_version
            THEN pg_current_xact_id()::text::bigint ELSE OLD.snapshot_xid END;
        IF NEW.history_version <> OLD.history_version THEN
            NEW.generation_attempt := 0;
        END IF;
        IF NEW.generation_attempt <> OLD.generation_attempt THEN
            NEW.retry_state := NULL;
        END IF;
        IF NEW.retry_state IS DISTINCT FROM OLD.retry_state THEN
            NEW.retry_state_version := NEW.snapshot_version;
        END IF;
        RETURN NEW;
    """,
)

chat_family = pgtrigger.Trigger(
    name="chat_family",
    operation=pgtrigger.Insert | pgtrigger.UpdateOf("parent_id", "root_id"),
    when=pgtrigger.Before,
    declare=[("family", "uuid"), ("family_is_archived", "boolean")],
    func="""
        IF TG_OP = 'UPDATE' THEN
            IF NEW.parent_id IS DISTINCT FROM OLD.parent_id OR NEW.root_id IS DISTINCT FROM OLD.root_id THEN
                RAISE EXCEPTION 'a chat stays in its family'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'chat_stays_in_its_family';
            END IF;
            RETURN NEW;
        END IF;
        IF NEW.parent_id IS NULL THEN
            RETURN NEW;
        END IF;
        SELECT coalesce(root_id, id) INTO family FROM chat_chat WHERE id = NEW.parent_id;
        IF NEW.root_id IS DISTINCT FROM family THEN
            RAISE EXCEPTION 'the root of a sub-agent is that of its parent'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'sub_agent_has_the_root_of_its_parent';
        END IF;
        -- Shared: sub-agents may be made at the same time, but not while somebody archives the family.
        SELECT archived INTO family_is_archived FROM chat_chat WHERE id = family FOR SHARE;
        IF family_is_archived THEN
            RAISE EXCEPTION 'an archived family takes no new chat'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'archived_family_takes_no_chat';
        END IF;
        RETURN NEW;
    """,
)

# Taking the author's name off what somebody wrote, because the user is deleted, is not a change of what was said.
_FORGETS_AUTHOR = """
    IF TG_OP = 'UPDATE' AND NEW.created_by_id IS NULL AND OLD.created_by_id IS NOT NULL THEN
        unsigned := OLD;
        unsigned.created_by_id := NULL;
        IF NEW IS NOT DISTINCT FROM unsigned THEN
            RETURN NEW;
        END IF;
    END IF;
"""

_GUARD = """
    SELECT snapshot_version, snapshot_xid, history_version, queue_version INTO chat
        FROM chat_chat WHERE id = {row}.chat_id;
    IF FOUND AND chat.snapshot_xid IS DISTINCT FROM pg_current_xact_id()::text::bigint THEN
        RAISE EXCEPTION 'messages and queue of chat % are written through chat_update only', {row}.chat_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'chat_written_through_the_door';
    END IF;
"""

message_versions = pgtrigger.Trigger(
    name="message_versions",
    operation=pgtrigger.Insert | pgtrigger.Update,
    when=pgtrigger.Before,
    declare=[("chat", "record"), ("unsigned", "chat_chatmessage%ROWTYPE")],
    func=_FORGETS_AUTHOR
    + _GUARD.format(row="NEW")
    + """
        IF TG_OP = 'UPDATE' THEN
            IF NEW IS NOT DISTINCT FROM OLD THEN
                RETURN NEW;
            END IF;
            IF NEW.chat_id <> OLD.chat_id OR NEW.id <> OLD.id THEN
                RAISE EXCEPTION 'a message stays in its chat'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'message_stays_in_its_chat';
            END IF;
        END IF;
        IF NEW.revision <> (CASE WHEN TG_OP = 'UPDATE' THEN OLD.revision ELSE 0 END) THEN
            RAISE EXCEPTION 'the revision of a message is never written by hand'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'message_revision_follows';
        END IF;
        NEW.revision := chat.snapshot_version;
        IF chat.history_version <> chat.snapshot_version THEN
            UPDATE chat_chat SET history_version = snapshot_version WHERE id = NEW.chat_id;
        END IF;
        RETURN NEW;
    """,
)

message_delete_guard = pgtrigger.Trigger(
    name="message_delete_guard",
    operation=pgtrigger.Delete,
    when=pgtrigger.Before,
    declare=[("chat", "record")],
    func=_GUARD.format(row="OLD")
    + """
        UPDATE chat_chat SET history_version = snapshot_version
            WHERE id = OLD.chat_id AND history_version <> snapshot_version;
        RETURN OLD;
    """,
)

queue_versions = pgtrigger.Trigger(
    name="queue_versions",
    operation=pgtrigger.Insert | pgtrigger.Update,
    when=pgtrigger.Before,
    declare=[("chat", "record"), ("unsigned", "chat_queuedmessage%ROWTYPE")],
    func=_FORGETS_AUTHOR
    + _GUARD.format(row="NEW")
    + """
        IF TG_OP = 'UPDATE' THEN
            IF NEW IS NOT DISTINCT FROM OLD THEN
                RETURN NEW;
            END IF;
            IF NEW.chat_id <> OLD.chat_id THEN
                RAISE EXCEPTION 'a queued message stays in its chat'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'message_stays_in_its_chat';
            END IF;
        END IF;
        UPDATE chat_chat SET queue_version = snapshot_version
            WHERE id = NEW.chat_id AND queue_version <> snapshot_version;
        RETURN NEW;
    """,
)

queue_delete_versions = pgtrigger.Trigger(
    name="queue_delete_versions",
    operation=pgtrigger.Delete,
    when=pgtrigger.Before,
    declare=[("chat", "record")],
    func=_GUARD.format(row="OLD")
    + """
        UPDATE chat_chat SET queue_version = snapshot_version
            WHERE id = OLD.chat_id AND queue_version <> snapshot_version;
        RETURN OLD;
    """,
)
