"""Rename tables, columns and indexes to the terms of the code. PostgreSQL rewrites no row; SQLite rebuilds the tables."""

import django.db.models.deletion
from django.db import migrations, models

RENAMED_FIELDS = {
    "portal": {
        "removal_reported_at": "uninstall_reported_at",
        "removal_is_clean": "uninstall_is_clean",
        "removal_refuted_at": "uninstall_refuted_at",
        "removal_tried_at": "uninstall_checked_at",
        "removed_at": "uninstalled_at",
        "removed_token_digest": "uninstalled_token_digest",
        "parked_why": "parked_reason",
        "let_in_at": "admitted_at",
        "let_in_user": "admitted_user",
        "hint_due_at": "message_due_at",
    },
    "selection": {"why": "failure_code"},
    "job": {
        "first": "original",
        "waiting_why": "wait_reason",
        "waiting_until": "wait_until",
        "waiting_code": "wait_code",
    },
    "jobitem": {"wakes": "returns", "directly": "direct", "who": "changed_by"},
}


class Migration(migrations.Migration):
    dependencies = [("defer", "0004_going_on")]

    operations = [
        migrations.RenameModel("OwedReturn", "OrphanedDeferral"),
        migrations.RenameModel("FailedProof", "FailedOpening"),
        migrations.RenameModel("LastSweep", "WorkerHeartbeat"),
        # The condition of this index names a renamed column, so SQLite could not rebuild the table with it.
        migrations.RemoveIndex("jobitem", "items_that_wake"),
        *(
            migrations.RenameField(model, old, new)
            for model, fields in RENAMED_FIELDS.items()
            for old, new in fields.items()
        ),
        migrations.RenameIndex("portal", new_name="portals_not_active", old_name="portals_without_us"),
        migrations.RenameIndex("failedopening", new_name="failed_openings_by_network", old_name="failed_proofs_by_network"),
        migrations.AddIndex(
            "jobitem",
            models.Index(fields=["returns"], condition=models.Q(returns__isnull=False), name="items_that_return"),
        ),
        migrations.AlterField(
            "orphaneddeferral",
            "portal",
            models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="orphans", to="defer.portal"
            ),
        ),
        migrations.RemoveConstraint("orphaneddeferral", "one_owed_return_per_task"),
        migrations.AddConstraint(
            "orphaneddeferral", models.UniqueConstraint(fields=["portal", "task_id"], name="one_orphan_per_task")
        ),
    ]
