"""Openings of the app: those that wait for their portal, and those that failed."""

from django.db import models


class PendingOpening(models.Model):
    """An opening whose portal had not answered in time: the page asks again, once, with a 60-second code."""

    code_digest = models.CharField(max_length=64, unique=True)
    sealed_payload = models.TextField()
    expires_at = models.DateTimeField()


class FailedOpening(models.Model):
    """An opening that nobody confirmed (attempts.py): which portal it named, and where it came from."""

    member_id = models.CharField(max_length=64)  # a claim
    network = models.CharField(max_length=50)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["network", "at"], name="failed_openings_by_network")]
