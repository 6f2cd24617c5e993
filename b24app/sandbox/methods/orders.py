"""The order of task lists, as database ordering."""

from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.db.models.expressions import OrderBy

from ..portal import knobs
from ..portal.errors import RestError
from .filters import MOMENTS, NUMBERS

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
    # The sandbox has the same value for all tasks, so sorting by these keys changes nothing.
    **dict.fromkeys(("SORTING", "FAVORITE", "IS_PINNED", "TIME_ESTIMATE", "ALLOW_CHANGE_DEADLINE"), "portal"),
}


def ordering(order: Mapping[str, Any], portal_key: str) -> list[OrderBy]:
    """The order map as database ordering; the newest number first if it is empty. Raises error 0 for an unknown key."""
    columns = []
    for name, direction in order.items():
        if name not in ORDERS:
            if knobs.trap("order_keys_are_checked", portal_key):
                raise RestError(400, "0", "Invalid sorting key (internal error)")
            continue
        words = str(direction).lower()  # "desc"; "desc,nulls" and "nulls,desc" also place empty values
        column = F(ORDERS[name])
        first = True if words.startswith("nulls") else None
        last = True if words.endswith("nulls") else None
        ordered = column.desc if "desc" in words else column.asc
        columns.append(ordered(nulls_first=first, nulls_last=last))
    return columns or [F("number").desc()]
