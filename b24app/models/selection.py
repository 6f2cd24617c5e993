"""What a person selected."""

import uuid

from django.db import models

from b24app.models.people import Person


class Selection(models.Model):
    """What a person selected, made definite: a frozen list of tasks with what was known of each. Lives an hour."""

    class State(models.TextChoices):
        COLLECTING = "collecting"
        READY = "ready"
        FAILED = "failed"  # the portal refused to list; `failure_code` holds its code

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    person = models.ForeignKey(Person, models.CASCADE, related_name="selections")
    state = models.CharField(max_length=12, choices=State, default=State.COLLECTING)
    wanted_ids = models.JSONField(default=list)  # ticked one by one
    filter = models.JSONField(default=dict)  # or everything that matches (TaskFilter.as_json)
    collected = models.PositiveIntegerField(default=0)
    after_id = models.PositiveBigIntegerField(default=0)  # everything up to this task id is collected
    failure_code = models.CharField(max_length=50, blank=True)
    created_at = models.DateTimeField()
    try_at = models.DateTimeField(null=True)  # the portal asked for patience until then


class SelectedTask(models.Model):
    """One task of a selection, as it was read while collecting."""

    selection = models.ForeignKey(Selection, models.CASCADE, related_name="tasks")
    task_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=300, blank=True)
    status = models.PositiveSmallIntegerField(null=True)  # None: the portal does not show it (any more)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["selection", "task_id"], name="task_selected_once")]
