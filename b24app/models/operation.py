"""What operators read: the journal and the heartbeat."""

from django.db import models

from b24app.models.job import Job
from b24app.models.portal import Portal


class RestCall(models.Model):
    """The journal: one row per exchange with a portal or an authorization server, kept seven days."""

    portal = models.ForeignKey(Portal, models.SET_NULL, null=True, related_name="calls")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="calls")
    at = models.DateTimeField(db_index=True)
    method = models.CharField(max_length=100)
    params = models.JSONField()  # without credentials
    outcome = models.JSONField(default=dict)  # allow-listed fields of the answer
    status = models.PositiveSmallIntegerField(null=True)  # None: no answer
    code = models.CharField(max_length=100, blank=True)
    milliseconds = models.PositiveIntegerField()
    request_id = models.UUIDField(null=True)  # sent as X-Request-Id; None in rows of the version before


class WorkerHeartbeat(models.Model):
    """One row: when a worker began the last sweep, by the database's clock."""

    at = models.DateTimeField()
