"""The people of a portal and their tokens."""

from django.db import models

from b24app import vault
from b24app.models.portal import Portal


class Person(models.Model):
    """One user of one portal."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="people")
    user_id = models.PositiveBigIntegerField()
    name = models.CharField(max_length=200, blank=True)
    zone = models.CharField(max_length=50, blank=True)  # IANA
    is_admin = models.BooleanField(default=False)
    language = models.CharField(max_length=10, default="en")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "user_id"], name="one_person_per_user")]

    def __str__(self) -> str:
        return f"person {self.pk}"


class Credential(models.Model):
    """One person's sealed OAuth token pair for one portal. `version` rises with every new pair."""

    class State(models.TextChoices):
        USABLE = "usable"
        NEEDS_REOPEN = "needs_reopen"  # rejected: no calls until the person opens the app again

    person = models.OneToOneField(Person, models.CASCADE, related_name="credential")
    sealed_access = models.TextField()
    sealed_refresh = models.TextField()
    expires_at = models.DateTimeField()
    obtained_at = models.DateTimeField()
    version = models.PositiveBigIntegerField(default=1)
    refreshing_until = models.DateTimeField(null=True)
    state = models.CharField(max_length=12, choices=State, default=State.USABLE)

    def __str__(self) -> str:
        return f"credential {self.pk}"

    @property
    def owner(self) -> str:
        """The owner that the pair is sealed for."""
        return f"{self.person.portal.member_id}:{self.person.user_id}"

    @property
    def access_token(self) -> str:
        return vault.unseal(self.sealed_access, self.owner)

    @property
    def refresh_token(self) -> str:
        return vault.unseal(self.sealed_refresh, self.owner)
