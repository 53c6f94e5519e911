"""What archive and purge look for, found by indexes. Built while chats go on, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0005_retention'),
    ]

    operations = [
        # A big table takes longer than a statement may take otherwise.
        migrations.RunSQL("SET statement_timeout = 0", reverse_sql=migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(('archived', False), ('pin_order__lte', 0), ('root__isnull', True), ('status__in', ['waiting', 'error'])), fields=['updated_at', 'id'], name='chat_that_may_be_archived'),
        ),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(('archived', True), ('root__isnull', True), ('status__in', ['waiting', 'error'])), fields=['updated_at', 'id'], name='chat_that_may_be_purged'),
        ),
        migrations.RunSQL("RESET statement_timeout", reverse_sql=migrations.RunSQL.noop),
    ]
