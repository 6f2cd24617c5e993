"""The two sets of methods for tasks: today's `tasks.task.*`, and `task.item.*` of old boxes that have nothing else.

All other code uses the modern dialect; a client with the legacy dialect translates requests and answers. Legacy
methods are positional: the order of parameters counts and not their names. A change of status takes only the id.
Source: manual, how-to-call-rest-api/data-encoding.md; task.item.* of tasks 19.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

PAGE_SIZE = 50  # fixed by the portal

LEGACY_LIST = "task.item.list"
LEGACY_METHODS = {
    "tasks.task.list": LEGACY_LIST,
    "tasks.task.pause": "task.item.pauseexecution",
    "tasks.task.defer": "task.item.defer",
    "tasks.task.renew": "task.item.renew",
    "tasks.task.start": "task.item.startexecution",
}
# Fields with other names in legacy rows. There is no ACTIVITY_DATE, and STATUS is not the real status.
LEGACY_FIELDS = {"ACTIVITY_DATE": "CHANGED_DATE", "STATUS": "REAL_STATUS"}
MODERN_NAMES = {
    "ID": "id",
    "TITLE": "title",
    "REAL_STATUS": "status",
    "DEADLINE": "deadline",
    "CREATED_BY": "createdBy",
    "RESPONSIBLE_ID": "responsibleId",
    "ACCOMPLICES": "accomplices",
    "CHANGED_DATE": "activityDate",
    "STATUS_CHANGED_BY": "statusChangedBy",
    "STATUS_CHANGED_DATE": "statusChangedDate",
}
# People, with the prefix of their fields.
COMPANIONS = {"responsible": "RESPONSIBLE", "creator": "CREATED_BY"}


class Dialect(StrEnum):
    """The dialect that a portal understands. A missing method shows that it is the other one."""

    MODERN = "modern"
    LEGACY = "legacy"

    @property
    def other(self) -> "Dialect":
        return Dialect.LEGACY if self is Dialect.MODERN else Dialect.MODERN

    def spell(self, method: str, params: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The method and parameters to send for a modern method. A method without a legacy name stays as it is."""
        legacy = LEGACY_METHODS.get(method)
        if self is Dialect.MODERN or legacy is None:
            return method, params
        return legacy, _list_arguments(params) if legacy == LEGACY_LIST else {"TASKID": params["taskId"]}

    def read(self, method: str, result: Any) -> Any:
        """The result in the modern form, in whichever dialect the method was sent."""
        if self is Dialect.MODERN or method != "tasks.task.list" or not isinstance(result, list):
            return result
        # Keep a row that is not a map: without it a task would look deleted. One row too many says that there are more.
        return {"tasks": [_modern_row(row) if isinstance(row, dict) else row for row in result[: PAGE_SIZE + 1]]}


def _list_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Order, filter, navigation, select. They are positional, so none may be empty: it would vanish from a query."""
    order = params.get("order") or {"ID": "asc"}
    page = max(0, int(params.get("start", 0))) // PAGE_SIZE + 1
    return {
        "ORDER": {LEGACY_FIELDS.get(name, name): direction for name, direction in order.items()},
        "FILTER": {name: _legacy_reference(value) for name, value in params["filter"].items()},
        "PARAMS": {"NAV_PARAMS": {"nPageSize": PAGE_SIZE, "iNumPage": page}},
        "SELECT": [LEGACY_FIELDS.get(name, name) for name in params["select"]],
    }


def _legacy_reference(value: Any) -> Any:
    """A reference to a row of an earlier list of the batch, in the legacy form: `$result[c0][49][ID]`."""
    if isinstance(value, str) and value.startswith("$result["):
        return value.replace("[tasks]", "").replace("[id]", "[ID]")
    return value


def _modern_row(row: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {modern: row[legacy] for legacy, modern in MODERN_NAMES.items() if legacy in row}
    people = {modern: _companion(row, legacy) for modern, legacy in COMPANIONS.items()}
    return {**renamed, **people, "group": {"name": row.get("GROUP_NAME") or ""}}


def _companion(row: Mapping[str, Any], legacy: str) -> dict[str, Any]:
    """A person in the modern form: id and full name."""
    name = f"{row.get(f'{legacy}_NAME') or ''} {row.get(f'{legacy}_LAST_NAME') or ''}".strip()
    return {"id": row.get(f"{legacy}_ID", row.get(legacy)), "name": name}
