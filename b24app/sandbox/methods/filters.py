"""The filter and order of tasks.task.list, as database conditions."""

import operator
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Q
from django.db.models.expressions import OrderBy
from django.utils.dateparse import parse_date, parse_datetime

from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import Label, Task, User
from ..tasks import rights
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
PEOPLE = {"ACCOMPLICE": Task.accomplices.through, "AUDITOR": Task.auditors.through}
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
ORDERS = {
    **{name: NUMBERS[name] for name in ("ID", "GROUP_ID", "CREATED_BY", "RESPONSIBLE_ID", "PRIORITY")},
    **MOMENTS,
    "TITLE": "title",
    "REAL_STATUS": "status",
    "STATUS": "status",
    "PARENT_ID": "parent__number",
    "STAGE_ID": "stage",
    "MARK": "mark",
    "TIME_SPENT_IN_LOGS": "time_spent",
    "ALLOW_TIME_TRACKING": "allow_time_tracking",
    "CREATED_BY_LAST_NAME": "creator__last_name",
    "ORIGINATOR_NAME": "creator__last_name",
    "RESPONSIBLE_NAME": "responsible__name",
    "RESPONSIBLE_LAST_NAME": "responsible__last_name",
    "GROUP_NAME": "project__name",
    # The same for all of ours, so that sorting by them changes nothing.
    **dict.fromkeys(("SORTING", "FAVORITE", "IS_PINNED", "TIME_ESTIMATE", "ALLOW_CHANGE_DEADLINE"), "portal"),
}


def visible(user: User) -> Q:
    """The tasks that a person may read."""
    if user.is_admin:
        return Q()
    own = rights.subordinates_of(user)
    below = Q(creator__in=own) | Q(responsible__in=own) | joined("ACCOMPLICE", user__in=own)
    groups = Q(project__in=user.projects.values("pk")) | Q(project__in=user.edited_projects.values("pk"))
    part = Q(creator=user) | Q(responsible=user) | joined("ACCOMPLICE", user=user) | joined("AUDITOR", user=user)
    return part | below | groups


def joined(role: str, **person: Any) -> Q:
    """Tasks where somebody like `person` has the role; a subquery, since a join would repeat rows."""
    return Q(pk__in=PEOPLE[role]._default_manager.filter(**person).values("task"))


def condition(filter_: Mapping[str, Any], user: User) -> Q:
    """A filter map as one condition; members are joined by ::LOGIC, AND unless it says OR."""
    parts = []
    for key, value in filter_.items():
        if key == "::LOGIC":
            continue
        if key.startswith("::"):
            parts.append(condition(value, user) if isinstance(value, dict) else Q())
            continue
        found = PREFIX.fullmatch(key)
        assert found is not None  # noqa: S101 -- the pattern matches everything
        if found["name"] == "REAL_STATUS" and role_widens(filter_):
            continue  # it is one of the role's two branches
        given = filter_.get("REAL_STATUS", [])
        parts.append(member(found["name"], found["op"] or "", bool(found["not"]), value, user, given))
    either = str(filter_.get("::LOGIC", "AND")).upper() == "OR"
    whole = Q()
    for part in parts:
        whole = whole | part if either else whole & part
    return whole


def member(name: str, operation: str, negated: bool, value: Any, user: User, real_status: Any) -> Q:
    if name in NUMBERS:
        part = by_number(NUMBERS[name], operation, value)
    elif name in MOMENTS:
        part = by_moment(MOMENTS[name], operation, value, user)
    elif name in ("TITLE", "SEARCH_INDEX"):
        part = by_text(operation if name == "TITLE" else "%", value)
    elif name == "STATUS":
        part = any_of([by_meta_status(status, user) for status in statuses(operation, value)])
    elif name in PEOPLE:
        part = joined(name, user__number__in=integers(value))
    elif name in LABELS:
        part = Q(pk__in=Label.objects.filter(kind=LABELS[name], name__in=php.members(value)).values("task"))
    elif name == "DEPENDS_ON":
        needed = Task.objects.filter(number__in=integers(value), portal=user.portal_id)
        part = Q(pk__in=needed.values("needed_by"))
    elif name == "MARK":
        part = Q(mark__in=[str(item or "") for item in php.members(value)])
    elif name in FLAGS:
        part = Q(**{FLAGS[name]: value == "Y"})
    elif name == "ONLY_ROOT_TASKS":
        part = by_root(user) if value == "Y" else Q()
    elif name in ("MEMBER", "DOER"):
        part = by_part(integers(value), doers_only=name == "DOER")
    elif name == "ROLE":
        part = by_role(str(value), real_status, user)
    elif name == "NOT_VIEWED":
        part = Q(pk__in=user.unviewed_tasks.values("pk"))
    elif name == "WO_DEADLINE":
        part = Q(deadline=None) if value == "Y" else Q()
    elif knobs.trap("unknown_filter_is_ignored", user.portal.key):
        return Q()
    else:
        raise RestError(400, "0", f"Unknown filter key {name}")
    return ~part if negated else part


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
    owner, _, _ = column.partition("__")  # 0 stands for none where the column is another row's number
    return part | Q(**{owner: None}) if owner != column and 0 in wanted else part


def statuses(operation: str, value: Any) -> list[int]:
    """The meta statuses that a condition on STATUS means."""
    compare = COMPARISONS.get(operation)
    if compare is None:
        return integers(value)
    return [status for status in META_STATUSES if compare(status, php.integer(value))]


def by_root(user: User) -> Q:
    """Tasks without a parent, or with one that the person cannot see."""
    parents = Task.objects.filter(visible(user), portal=user.portal_id)
    return Q(parent=None) | ~Q(parent__in=parents.values("pk"))


def by_text(operation: str, value: Any) -> Q:
    """Compare titles without regard to case, in every script (SQLite's LIKE knows Latin only)."""
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
    """An ISO date or time; without an offset it is the person's wall time."""
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


def by_meta_status(status: int, user: User) -> Q:
    now = clock.now()
    open_ = ~Q(status__in=[4, 5])
    overdue = open_ & Q(deadline__lt=now)
    unviewed = Q(status__in=[1, 2], pk__in=user.unviewed_tasks.values("pk")) & ~Q(deadline__lt=now)
    almost = open_ & Q(deadline__gte=now, deadline__lt=now + timedelta(days=1)) & ~unviewed
    if status == rights.OVERDUE:
        return overdue
    if status == rights.UNVIEWED:
        return unviewed
    if status == rights.ALMOST_OVERDUE:
        return almost
    return Q(status=status) & ~overdue & ~unviewed & ~almost


def by_part(people: list[int], *, doers_only: bool) -> Q:
    part = Q(responsible__number__in=people) | joined("ACCOMPLICE", user__number__in=people)
    if doers_only:
        return part
    return part | Q(creator__number__in=people) | joined("AUDITOR", user__number__in=people)


def role_widens(filter_: Mapping[str, Any]) -> bool:
    return "ROLE" in filter_ and "REAL_STATUS" in filter_ and str(filter_["ROLE"]) not in ROLES


def by_role(role: str, real_status: Any, user: User) -> Q:
    """Tasks where the person has the role. Any other word adds to the statuses asked for what waits for approval."""
    if role not in ROLES:
        return by_number("status", "", real_status) | Q(status=4, creator=user) if real_status else Q()
    roles = {
        "R": Q(responsible=user),
        "A": joined("ACCOMPLICE", user=user),
        "U": joined("AUDITOR", user=user),
        "O": Q(creator=user) & ~Q(responsible=user),
    }
    return roles[role]


def ordering(order: Mapping[str, Any], portal_key: str) -> list[OrderBy]:
    """Raises error 0 for a key that cannot be sorted by."""
    columns = []
    for name, direction in order.items():
        if name not in ORDERS:
            if knobs.trap("order_keys_are_checked", portal_key):
                raise RestError(400, "0", "Invalid sorting key (internal error)")
            continue
        words = str(direction).lower()  # "desc", or with a place for empty values: "desc,nulls" and "nulls,desc"
        column = F(ORDERS[name])
        first = True if words.startswith("nulls") else None
        last = True if words.endswith("nulls") else None
        ordered = column.desc if "desc" in words else column.asc
        columns.append(ordered(nulls_first=first, nulls_last=last))
    return columns or [F("number").desc()]
