"""The rows: portals, their people and credentials, jobs and their items, deferrals, and the journal.

States are in the database only; a Celery message only says that a portal may have work.
"""

from b24app.models.deferral import Deferral, DeferralQuerySet, OrphanedDeferral
from b24app.models.job import Job, JobItem, JobQuerySet
from b24app.models.opening import FailedOpening, PendingOpening
from b24app.models.operation import RestCall, WorkerHeartbeat
from b24app.models.people import Credential, Person
from b24app.models.portal import Portal
from b24app.models.selection import SelectedTask, Selection

__all__ = [
    "Credential",
    "Deferral",
    "DeferralQuerySet",
    "FailedOpening",
    "Job",
    "JobItem",
    "JobQuerySet",
    "OrphanedDeferral",
    "PendingOpening",
    "Person",
    "Portal",
    "RestCall",
    "SelectedTask",
    "Selection",
    "WorkerHeartbeat",
]
