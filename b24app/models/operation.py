"""For operators: the journal of calls, and the heartbeat of the workers."""

from django.db import models

from b24app.models.job import Job
from b24app.models.portal import Portal


class RestCall(models.Model):
    """The journal: one row per exchange with a portal or an authorization server. Rows are kept for seven days."""

    portal = models.ForeignKey(Portal, models.SET_NULL, null=True, related_name="calls")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="calls")
    at = models.DateTimeField(db_index=True)
    method = models.CharField(max_length=100)
    params = models.JSONField()  # without credentials
    outcome = models.JSONField(default=dict)  # fields of the answer that are on an allow-list
    status = models.PositiveSmallIntegerField(null=True)  # None: no answer
    code = models.CharField(max_length=100, blank=True)
    milliseconds = models.PositiveIntegerField()
    request_id = models.UUIDField(null=True)  # sent as X-Request-Id; None in rows of an earlier version


class WorkerHeartbeat(models.Model):
    """One row: when a worker began the last sweep, by the database's clock."""

    at = models.DateTimeField()
