"""Beat's schedule, for the first time; each later migrate keeps it in step with the code (`chatworker/schedule.py`)."""

from django.db import migrations

from chatworker.schedule import ensure_schedule


class Migration(migrations.Migration):

    dependencies = [
        ("chat", "0007_finding_chats"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: ensure_schedule(apps=apps),
            migrations.RunPython.noop,
        ),
    ]
