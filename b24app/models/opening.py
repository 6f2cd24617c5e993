"""Openings of the app that wait for their portal, and openings that failed."""

from django.db import models


class PendingOpening(models.Model):
    """An opening whose portal did not answer in time. The page asks again, once, with a code that lasts 60 seconds."""

    code_digest = models.CharField(max_length=64, unique=True)
    sealed_payload = models.TextField()
    expires_at = models.DateTimeField()


class FailedOpening(models.Model):
    """An opening that no server confirmed (portals/throttle.py): which portal it named, and where it came from."""

    member_id = models.CharField(max_length=64)  # as the opening claims
    network = models.CharField(max_length=50)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["network", "at"], name="failed_openings_by_network")]
