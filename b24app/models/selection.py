"""Selections: which tasks a person has selected."""

import uuid

from django.db import models

from b24app.models.people import Person


class Selection(models.Model):
    """A frozen list of the tasks that a person has selected. It lives for an hour."""

    class State(models.TextChoices):
        COLLECTING = "collecting"
        READY = "ready"
        FAILED = "failed"  # the portal refused to list the tasks; `failure_code` holds its code

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    person = models.ForeignKey(Person, models.CASCADE, related_name="selections")
    state = models.CharField(max_length=12, choices=State, default=State.COLLECTING)
    wanted_ids = models.JSONField(default=list)  # ticked one by one
    filter = models.JSONField(default=dict)  # or all tasks that match (TaskFilter.as_json)
    collected = models.PositiveIntegerField(default=0)
    after_id = models.PositiveBigIntegerField(default=0)  # all matching tasks up to this id are collected
    failure_code = models.CharField(max_length=50, blank=True)
    created_at = models.DateTimeField()
    try_at = models.DateTimeField(null=True)  # do not call the portal before this time


class SelectedTask(models.Model):
    """One task of a selection, as it was read while collecting."""

    selection = models.ForeignKey(Selection, models.CASCADE, related_name="tasks")
    task_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=300, blank=True)
    status = models.PositiveSmallIntegerField(null=True)  # None: deleted, or the person may not see it

    class Meta:
        constraints = [models.UniqueConstraint(fields=["selection", "task_id"], name="task_selected_once")]
