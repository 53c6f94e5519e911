"""Messages, queue and leases go with their chat, by the database's own cascade.

Django's would delete the children first, through the guard that protects them; Postgres deletes them after the chat,
when there is nothing left to protect.
"""

from django.db import migrations

TABLES = ("chat_chatmessage", "chat_queuedmessage", "chat_runnerlease")

CASCADE = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint
        WHERE conrelid = '{table}'::regclass AND confrelid = 'chat_chat'::regclass AND contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', name);
    END LOOP;
    ALTER TABLE {table} ADD CONSTRAINT {table}_goes_with_its_chat
        FOREIGN KEY (chat_id) REFERENCES chat_chat (id) ON DELETE CASCADE;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]
    operations = [
        migrations.RunSQL(CASCADE.format(table=table), reverse_sql=migrations.RunSQL.noop) for table in TABLES
    ]
