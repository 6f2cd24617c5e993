"""Which tasks a person may read, as database conditions."""

from typing import Any

from django.db.models import Q

from ..portal.models import Task, User
from .rights import subordinates_of

PEOPLE = {"ACCOMPLICE": Task.accomplices.through, "AUDITOR": Task.auditors.through}  # role -> its table


def visible(user: User) -> Q:
    """The tasks that the person may read."""
    if user.is_admin:
        return Q()
    own = subordinates_of(user)
    below = Q(creator__in=own) | Q(responsible__in=own) | with_role("ACCOMPLICE", user__in=own)
    groups = Q(project__in=user.projects.values("pk")) | Q(project__in=user.edited_projects.values("pk"))
    part = Q(creator=user) | Q(responsible=user)
    return part | with_role("ACCOMPLICE", user=user) | with_role("AUDITOR", user=user) | below | groups


def with_role(role: str, **person: Any) -> Q:
    """Tasks in which a matching person has the role. A subquery, because a join would repeat rows."""
    return Q(pk__in=PEOPLE[role]._default_manager.filter(**person).values("task"))
