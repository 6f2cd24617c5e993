"""The filter and order of tasks.task.list, as database conditions."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Q
from django.db.models.expressions import OrderBy
from django.utils.dateparse import parse_date, parse_datetime

from . import clock, knobs, php, rights
from .errors import RestError
from .models import User

PREFIX = re.compile(r"(?P<not>!?)(?P<op>><|<=|>=|<|>|=%|%=|=|%|\?)?(?P<name>.*)")

NUMBERS = {
    "ID": "number",
    "GROUP_ID": "project__number",
    "CREATED_BY": "creator__number",
    "RESPONSIBLE_ID": "responsible__number",
    "STATUS_CHANGED_BY": "status_changed_by__number",
    "PRIORITY": "priority",
    "REAL_STATUS": "status",
}
PEOPLE = {"ACCOMPLICE": "accomplices", "AUDITOR": "auditors"}
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
ORDERS = {
    **{name: NUMBERS[name] for name in ("ID", "GROUP_ID", "CREATED_BY", "RESPONSIBLE_ID", "PRIORITY")},
    **MOMENTS,
    "TITLE": "title",
    "REAL_STATUS": "status",
    "STATUS": "status",
}


def visible(user: User) -> Q:
    """The tasks that a person may read."""
    if user.is_admin:
        return Q()
    own = rights.subordinates_of(user)
    below = Q(creator__in=own) | Q(responsible__in=own) | Q(accomplices__in=own)
    groups = Q(project__members=user) | Q(project__editors=user)
    part = Q(creator=user) | Q(responsible=user) | Q(accomplices=user) | Q(auditors=user)
    return part | below | groups


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
        parts.append(member(found["name"], found["op"] or "", bool(found["not"]), value, user))
    either = str(filter_.get("::LOGIC", "AND")).upper() == "OR"
    joined = Q()
    for part in parts:
        joined = joined | part if either else joined & part
    return joined


def member(name: str, operation: str, negated: bool, value: Any, user: User) -> Q:
    if name in NUMBERS:
        part = by_number(NUMBERS[name], operation, value)
    elif name in MOMENTS:
        part = by_moment(MOMENTS[name], operation, value, user)
    elif name in ("TITLE", "SEARCH_INDEX"):
        part = by_text(operation if name == "TITLE" else "%", value)
    elif name == "STATUS":
        part = any_of([by_meta_status(php.integer(item), user) for item in php.members(value)])
    elif name in PEOPLE:
        part = Q(**{f"{PEOPLE[name]}__number__in": integers(value)})
    elif name in ("MEMBER", "DOER"):
        part = by_part(integers(value), doers_only=name == "DOER")
    elif name == "ROLE":
        part = by_role(str(value), user)
    elif name == "NOT_VIEWED":
        part = Q(unviewed_by=user)
    elif name == "WO_DEADLINE":
        part = Q(deadline=None) if value == "Y" else Q()
    elif knobs.trap("unknown_filter_is_ignored", user.portal.key):
        return Q()
    else:
        raise RestError(400, "0", f"Unknown filter key {name}")
    return ~part if negated else part


def any_of(parts: list[Q]) -> Q:
    joined = Q(pk__in=[])
    for part in parts:
        joined |= part
    return joined


def integers(value: Any) -> list[int]:
    return [php.integer(item) for item in php.members(value)]


def by_number(column: str, operation: str, value: Any) -> Q:
    if operation in LOOKUPS:
        return Q(**{f"{column}__{LOOKUPS[operation]}": php.integer(value)})
    wanted = integers(value)
    part = Q(**{f"{column}__in": wanted})
    return part | Q(project=None) if column == "project__number" and 0 in wanted else part


def by_text(operation: str, value: Any) -> Q:
    """Compare titles without regard to case, in every script (SQLite's LIKE knows Latin only)."""
    pattern = re.escape(str(value))
    return Q(title__iregex=pattern if "%" in operation or operation == "?" else f"^{pattern}$")


def by_moment(column: str, operation: str, value: Any, user: User) -> Q:
    if value in ("", None, False):
        return Q(**{column: None})
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
    part = Q(responsible__number__in=people) | Q(accomplices__number__in=people)
    if doers_only:
        return part
    return part | Q(creator__number__in=people) | Q(auditors__number__in=people)


def by_role(role: str, user: User) -> Q:
    roles = {
        "R": Q(responsible=user),
        "A": Q(accomplices=user),
        "U": Q(auditors=user),
        "O": Q(creator=user) & ~Q(responsible=user),
    }
    return roles.get(role, Q())


def ordering(order: Mapping[str, Any], portal_key: str) -> list[OrderBy]:
    """Raises error 0 for a key that cannot be sorted by."""
    columns = []
    for name, direction in order.items():
        if name not in ORDERS:
            if knobs.trap("order_keys_are_checked", portal_key):
                raise RestError(400, "0", "Invalid sorting key (internal error)")
            continue
        descending = str(direction).lower().startswith("desc")
        column = F(ORDERS[name])
        columns.append(column.desc() if descending else column.asc())
    return columns or [F("number").desc()]
