"""The idle chats that the admin lists, found by an index: where most chats are archived, those come first in others."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0007_finding_chats'),
    ]

    operations = [
        # A big table takes longer than a statement may take otherwise.
        migrations.RunSQL("SET statement_timeout = 0", reverse_sql=migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(('archived', False), ('status', 'waiting')), fields=['-updated_at'], name='chat_idle_by_activity'),
        ),
        migrations.RunSQL("RESET statement_timeout", reverse_sql=migrations.RunSQL.noop),
    ]
