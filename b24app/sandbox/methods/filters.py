"""The filter of task lists, as database conditions."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.dateparse import parse_date, parse_datetime

from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import Label, Task, User
from ..portal.statuses import AWAITING_CONTROL
from ..tasks import rights
from ..tasks.reading import PEOPLE, visible, with_role
from ..wire import php

PREFIX = re.compile(r"(?P<not>!?)(?P<op>><|<=|>=|<|>|=%|%=|=|%|\?)?(?P<name>.*)")

NUMBERS = {
    "ID": "number",
    "GROUP_ID": "project__number",
    "CREATED_BY": "creator__number",
    "RESPONSIBLE_ID": "responsible__number",
    "STATUS_CHANGED_BY": "status_changed_by__number",
    "PRIORITY": "priority",
    "REAL_STATUS": "status",
    "PARENT_ID": "parent__number",
    "STAGE_ID": "stage",
    "SPRINT_ID": "sprint",
    "BACKLOG_ID": "backlog",
    "TIME_SPENT_IN_LOGS": "time_spent",
}
FLAGS = {"ALLOW_TIME_TRACKING": "allow_time_tracking", "TASK_CONTROL": "task_control"}
LABELS = {"TAG": Label.TAG, "UF_CRM_TASK": Label.CRM}
MOMENTS = {
    "DEADLINE": "deadline",
    "CREATED_DATE": "created_date",
    "CHANGED_DATE": "changed_date",
    "CLOSED_DATE": "closed_date",
    "DATE_START": "date_start",
    "ACTIVITY_DATE": "activity_date",
    "STATUS_CHANGED_DATE": "status_changed_date",
}
LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
ROLES = ("R", "A", "U", "O")
META_STATUSES = range(-3, 8)


@dataclass(frozen=True)
class Member:
    """One entry of a filter map. The key "!>=DEADLINE" is DEADLINE with the operation ">=", negated."""

    name: str
    operation: str
    negated: bool
    value: Any
    user: User
    real_status: Any  # the entry REAL_STATUS of the same map, for ROLE


def condition(filter_: Mapping[str, Any], user: User) -> Q:
    """A filter map as one condition. ::LOGIC joins its entries by OR, otherwise by AND; the key ::… holds a sub-map."""
    parts = []
    for key, value in filter_.items():
        if key == "::LOGIC":
            continue
        if key.startswith("::"):
            parts.append(condition(value, user) if isinstance(value, dict) else Q())
            continue
        found = read_key(key)
        if found["name"] == "REAL_STATUS" and role_widens(filter_):
            continue  # the condition of ROLE includes it
        given = filter_.get("REAL_STATUS", [])
        parts.append(member(Member(found["name"], found["op"] or "", bool(found["not"]), value, user, given)))
    either = str(filter_.get("::LOGIC", "AND")).upper() == "OR"
    whole = Q()
    for part in parts:
        whole = whole | part if either else whole & part
    return whole


def read_key(key: str) -> re.Match[str]:
    found = PREFIX.fullmatch(key)
    assert found is not None  # noqa: S101 -- the pattern matches everything
    return found


def member(entry: Member) -> Q:
    """The condition of one entry. Raises error 0 for an unknown key if the portal does not ignore it."""
    build = CONDITIONS.get(entry.name)
    if build is not None:
        part = build(entry)
        return ~part if entry.negated else part
    if knobs.trap("unknown_filter_is_ignored", entry.user.portal.key):
        return Q()
    raise RestError(400, "0", f"Unknown filter key {entry.name}")


def any_of(parts: list[Q]) -> Q:
    whole = Q(pk__in=[])
    for part in parts:
        whole |= part
    return whole


def integers(value: Any) -> list[int]:
    return [php.integer(item) for item in php.members(value)]


def by_number(column: str, operation: str, value: Any) -> Q:
    if operation in LOOKUPS:
        return Q(**{f"{column}__{LOOKUPS[operation]}": php.integer(value)})
    wanted = integers(value)
    if operation == "><":
        return Q(**{f"{column}__range": (min(wanted), max(wanted))})
    part = Q(**{f"{column}__in": wanted})
    owner, _, _ = column.partition("__")  # 0 means none if the column is the number of another row
    return part | Q(**{owner: None}) if owner != column and 0 in wanted else part


def statuses(operation: str, value: Any) -> list[int]:
    """The meta statuses that match a condition on STATUS."""
    compare = COMPARISONS.get(operation)
    if compare is None:
        return integers(value)
    return [status for status in META_STATUSES if compare(status, php.integer(value))]


def by_root(user: User) -> Q:
    """Tasks without a parent, or with a parent that the person may not read."""
    parents = Task.objects.filter(visible(user), portal=user.portal_id)
    return Q(parent=None) | ~Q(parent__in=parents.values("pk"))


def by_text(operation: str, value: Any) -> Q:
    """Compare titles regardless of case, in every script. SQLite's LIKE does this for Latin letters only."""
    pattern = re.escape(str(value))
    return Q(title__iregex=pattern if "%" in operation or operation == "?" else f"^{pattern}$")


def by_moment(column: str, operation: str, value: Any, user: User) -> Q:
    if value in ("", None, False):
        return Q(**{column: None})
    if operation == "><":
        first, last = (parse_moment(str(item), user) for item in (*php.members(value), "", "")[:2])
        return Q(**{f"{column}__range": (first, last)}) if first and last else Q(pk__in=[])
    moment = parse_moment(str(value), user)
    if moment is None:
        return Q(pk__in=[])
    lookup = LOOKUPS.get(operation)
    return Q(**{f"{column}__{lookup}" if lookup else column: moment})


def parse_moment(text: str, user: User) -> datetime | None:
    """An ISO date or time. Without an offset it is local time of the person. None if it cannot be read."""
    try:
        moment = parse_datetime(text)
        day = parse_date(text) if moment is None else None
    except ValueError:
        return None
    if moment is None and day is not None:
        moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001 -- the zone follows
    if moment is None:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(user.zone or user.portal.zone))


def by_status(entry: Member) -> Q:
    wanted = statuses(entry.operation, entry.value)
    return any_of([by_meta_status(status, entry.user) for status in wanted])


def by_meta_status(status: int, user: User) -> Q:
    """The condition that rights.meta_status(task, user) is `status`."""
    now = clock.now()
    open_ = ~Q(status__in=rights.DONE)
    overdue = open_ & Q(deadline__lt=now)
    unviewed = Q(status__in=rights.STARTABLE, pk__in=user.unviewed_tasks.values("pk")) & ~Q(deadline__lt=now)
    almost = open_ & Q(deadline__gte=now, deadline__lt=now + timedelta(days=1)) & ~unviewed
    if status == rights.OVERDUE:
        return overdue
    if status == rights.UNVIEWED:
        return unviewed
    if status == rights.ALMOST_OVERDUE:
        return almost
    return Q(status=status) & ~overdue & ~unviewed & ~almost


def by_label(entry: Member) -> Q:
    names = php.members(entry.value)
    return Q(pk__in=Label.objects.filter(kind=LABELS[entry.name], name__in=names).values("task"))


def by_dependent(entry: Member) -> Q:
    needed = Task.objects.filter(number__in=integers(entry.value), portal=entry.user.portal_id)
    return Q(pk__in=needed.values("needed_by"))


def by_part(people: list[int], *, doers_only: bool) -> Q:
    """Tasks in which one of the people takes part; with `doers_only`, only those who work on it."""
    part = Q(responsible__number__in=people) | with_role("ACCOMPLICE", user__number__in=people)
    if doers_only:
        return part
    return part | Q(creator__number__in=people) | with_role("AUDITOR", user__number__in=people)


def role_widens(filter_: Mapping[str, Any]) -> bool:
    """Whether ROLE is an unknown word, which extends the condition on REAL_STATUS instead of narrowing it."""
    return "ROLE" in filter_ and "REAL_STATUS" in filter_ and str(filter_["ROLE"]) not in ROLES


def by_role(role: str, real_status: Any, user: User) -> Q:
    """Tasks in which the person has the role. An unknown role extends REAL_STATUS by tasks to approve."""
    if role not in ROLES:
        return by_number("status", "", real_status) | Q(status=AWAITING_CONTROL, creator=user) if real_status else Q()
    roles = {
        "R": Q(responsible=user),
        "A": with_role("ACCOMPLICE", user=user),
        "U": with_role("AUDITOR", user=user),
        "O": Q(creator=user) & ~Q(responsible=user),
    }
    return roles[role]


CONDITIONS: dict[str, Callable[[Member], Q]] = {
    **dict.fromkeys(NUMBERS, lambda entry: by_number(NUMBERS[entry.name], entry.operation, entry.value)),
    **dict.fromkeys(MOMENTS, lambda entry: by_moment(MOMENTS[entry.name], entry.operation, entry.value, entry.user)),
    **dict.fromkeys(FLAGS, lambda entry: Q(**{FLAGS[entry.name]: entry.value == "Y"})),
    **dict.fromkeys(PEOPLE, lambda entry: with_role(entry.name, user__number__in=integers(entry.value))),
    **dict.fromkeys(LABELS, by_label),
    "TITLE": lambda entry: by_text(entry.operation, entry.value),
    "SEARCH_INDEX": lambda entry: by_text("%", entry.value),
    "STATUS": by_status,
    "DEPENDS_ON": by_dependent,
    "MARK": lambda entry: Q(mark__in=[str(item or "") for item in php.members(entry.value)]),
    "ONLY_ROOT_TASKS": lambda entry: by_root(entry.user) if entry.value == "Y" else Q(),
    "MEMBER": lambda entry: by_part(integers(entry.value), doers_only=False),
    "DOER": lambda entry: by_part(integers(entry.value), doers_only=True),
    "ROLE": lambda entry: by_role(str(entry.value), entry.real_status, entry.user),
    "NOT_VIEWED": lambda entry: Q(pk__in=entry.user.unviewed_tasks.values("pk")),
    "WO_DEADLINE": lambda entry: Q(deadline=None) if entry.value == "Y" else Q(),
}
