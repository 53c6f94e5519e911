"""What the admin lists and counts, found by indexes. Built while chats go on, however many there are."""

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0006_retention_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # A big table takes longer than a statement may take otherwise.
        migrations.RunSQL("SET statement_timeout = 0", reverse_sql=migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(fields=['-updated_at'], name='chat_by_activity'),
        ),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(('archived', False), ('status', 'error')), fields=['-updated_at'], name='chat_stopped_on_error'),
        ),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(('archived', True)), fields=['-updated_at'], name='chat_archived_by_activity'),
        ),
        AddIndexConcurrently(
            model_name='chat',
            index=models.Index(condition=models.Q(models.Q(('archived', True), ('status__in', ['running', 'interrupting', 'requires_action'])), models.Q(('status__in', ['waiting', 'running', 'interrupting', 'requires_action', 'error']), _negated=True), _connector='OR'), fields=['id'], name='chat_in_an_impossible_state'),
        ),
        migrations.RunSQL("RESET statement_timeout", reverse_sql=migrations.RunSQL.noop),
    ]
