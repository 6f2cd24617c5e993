"""The methods for tasks: list them, read their status and rights, and change their status.

Filter keys are UPPER_CASE, the keys of answers camelCase, scalars are strings. The filter calls the real status
REAL_STATUS, answers call it `status`.
Source: manual, tasks-task-list.md, status/*.md, tasks-task-get-access.md.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any, Self

from b24app.bitrix import bounds, dialects
from b24app.bitrix.client import Answer, Client, Command, Reply, success
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import NoSuchMethod, Refused, Unknown

PAGE_SIZE = dialects.PAGE_SIZE
COLLECT_PAGES = 10  # pages that one batch asks for
# The beginning of a reference to an earlier answer. A batch replaces it anywhere in its commands.
REFERENCE = re.compile(r"\$+(?=(?:result|total|next|time|error)\[)", re.IGNORECASE)


class Status(IntEnum):
    """The real status of a task, with Bitrix24's numbers. Source: manual, tasks/fields.md."""

    NEW = 1
    PENDING = 2
    IN_PROGRESS = 3
    AWAITING_CONTROL = 4
    COMPLETED = 5
    DEFERRED = 6
    DECLINED = 7


STATUSES = frozenset(Status)
CAN_BE_DEFERRED = (Status.NEW, Status.PENDING, Status.IN_PROGRESS)


class Act(StrEnum):
    """A change of status, named like its method. Its first letter is part of its batch key: p31, d31."""

    PAUSE = "pause"
    DEFER = "defer"
    START = "start"
    RENEW = "renew"

    @property
    def method(self) -> str:
        return f"tasks.task.{self.value}"

    def key(self, task_id: int) -> str:
        return f"{self.value[0]}{task_id}"


class Sort(StrEnum):
    DEADLINE = "DEADLINE"
    TITLE = "TITLE"
    ACTIVITY = "ACTIVITY_DATE"


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks to list: those of one person or project, by real status, and by words in the title."""

    statuses: tuple[int, ...] = (Status.IN_PROGRESS,)
    # Responsible, creator, participant or observer. A text refers to another command's result (openings.VIEWER).
    member_id: int | str | None = None
    project_id: int | None = None
    task_id: int | None = None
    title: str = ""
    excluded: tuple[int, ...] = ()  # unticked one by one; engine/selections.py leaves them out, not the portal

    def as_params(self) -> dict[str, Any]:
        params: dict[str, Any] = {"REAL_STATUS": list(self.statuses)}
        if self.task_id:
            params["ID"] = self.task_id
        if self.project_id:
            params["GROUP_ID"] = self.project_id
        if self.title:
            # A batch would replace a reference in the title. The longest part without one finds the same titles, and
            # few others.
            params["%TITLE"] = max(REFERENCE.split(self.title), key=len)
        if self.member_id:
            roles = ("RESPONSIBLE_ID", "ACCOMPLICE", "CREATED_BY", "AUDITOR")
            params["::SUBFILTER-1"] = {
                "::LOGIC": "OR",
                **{f"::SUBFILTER-{n}": {role: self.member_id} for n, role in enumerate(roles, 1)},
            }
        return params

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        lists = {name: tuple(kept.get(name, ())) for name in ("statuses", "excluded")}
        return cls(**{**kept, **lists})


@dataclass(frozen=True)
class TaskRow:
    """A task in a list."""

    id: int
    title: str
    status: int  # 0: unknown
    deadline: datetime | None
    responsible: str
    project: str
    responsible_id: int | None = None
    active_at: datetime | None = None


@dataclass(frozen=True)
class Page:
    """One page of a list, and how many tasks match in all."""

    tasks: list[TaskRow] = field(default_factory=list)
    total: int = 0


@dataclass(frozen=True)
class TaskState:
    """A task as the engine needs it: its status, and who changed it."""

    id: int
    title: str
    status: int
    participants: frozenset[int]  # creator, responsible and accomplices, by user id
    status_changed_by: int | None
    status_changed_at: datetime | None
    creator: str = ""  # names, if the answer has them
    changed_by: str = ""
    may_defer: bool = False  # as it is now; only the answer to a change of status says so


LIST_FIELDS = ["ID", "TITLE", "STATUS", "DEADLINE", "RESPONSIBLE_ID", "GROUP_ID", "ACTIVITY_DATE"]
STATE_FIELDS = [
    *("ID", "TITLE", "STATUS", "CREATED_BY", "RESPONSIBLE_ID", "ACCOMPLICES"),
    *("STATUS_CHANGED_BY", "STATUS_CHANGED_DATE"),
]


def list_command(key: str, wanted: TaskFilter, sort: Sort, descending: bool, page: int) -> Command:
    """The command that lists page number `page` (the first one is 1)."""
    return Command(
        key,
        "tasks.task.list",
        {
            "filter": wanted.as_params(),
            "order": {sort.value: "desc" if descending else "asc", "ID": "desc"},
            "select": LIST_FIELDS,
            "start": (page - 1) * PAGE_SIZE,
        },
    )


def page_of(answer: Answer) -> Page:
    """The page in the answer to a list command."""
    rows = _rows(answer)
    return Page(rows, answer.total if answer.total is not None else len(rows))


class Unreadable(Enum):
    """Instead of a TaskState: the portal returned a row for this task that cannot be parsed."""

    UNREADABLE = "unreadable"


UNREADABLE = Unreadable.UNREADABLE


def read_states(client: Client, task_ids: Sequence[int]) -> dict[int, TaskState | Unreadable]:
    """The current state of the tasks, by id. A missing task is deleted, or the person may not see it.

    A row that cannot be parsed is UNREADABLE; the other rows are still read. If a row has no readable id, it could be
    any of the missing tasks, so all of them are reported as UNREADABLE, not as deleted. The same if there are more
    rows than one page has: they are not read.
    At most PAGE_SIZE ids. One request; safe to repeat.
    """
    answer = client.call("tasks.task.list", {"filter": {"ID": list(task_ids)}, "select": STATE_FIELDS, "start": -1})
    rows = _tasks(answer)
    named = {id: raw for raw in rows[:PAGE_SIZE] if (id := _task_id(raw))}
    found = {id: _state(named[id]) for id in task_ids if id in named}
    if len(rows) > PAGE_SIZE or not all(_task_id(raw) for raw in rows):
        found |= {id: UNREADABLE for id in task_ids if id not in found}
    return found


def read_listed(client: Client, task_ids: Sequence[int]) -> list[TaskRow]:
    """The rows of these tasks, in one request of at most 50 pages. The person may not see a missing task."""
    chunks = [task_ids[start : start + PAGE_SIZE] for start in range(0, len(task_ids), PAGE_SIZE)]
    params = {"order": {"ID": "asc"}, "select": LIST_FIELDS, "start": -1}
    commands = [
        Command(f"l{n}", "tasks.task.list", {"filter": {"ID": list(chunk)}, **params}) for n, chunk in enumerate(chunks)
    ]
    rows: list[TaskRow] = []
    for answer in client.batch(commands).values():
        rows += _rows(success(answer))
    return rows


def collect_after(client: Client, wanted: TaskFilter, after_id: int) -> tuple[list[TaskRow], bool]:
    """The next matching tasks after `after_id`, by ascending id, and whether the list ends with them.

    Pages are cut by id, not by offset, so a task that enters or leaves the list does not shift the others. Each page
    of the batch starts after the last id of the page before. A page that is not full is the last one. If no page brings
    a task after `after_id`, the list ends too: asking again would bring the same.
    Source: manual, settings/performance/huge-data.md; batch.md on `$result`.
    """
    commands = []
    for number in range(COLLECT_PAGES):
        last = f"$result[c{number - 1}][tasks][{PAGE_SIZE - 1}][id]" if number else str(after_id)
        params = {
            "order": {"ID": "asc"},
            "filter": {**wanted.as_params(), ">ID": last},
            "select": LIST_FIELDS,
            "start": -1,
        }
        commands.append(Command(f"c{number}", "tasks.task.list", params))
    answers = client.batch(commands)
    rows: dict[int, TaskRow] = {}
    has_ended = False
    for command in commands:
        answer = success(answers[command.key])
        rows |= {row.id: row for row in _rows(answer) if row.id > after_id}
        has_ended = len(_tasks(answer)) < PAGE_SIZE
        if has_ended:
            break
    return [rows[id] for id in sorted(rows)], has_ended or not rows


def read_access(client: Client, task_ids: Sequence[int]) -> dict[int, frozenset[str]]:
    """What the client's person may do with each task, as upper-case words ("PAUSE", "EDIT"). One request.

    A task whose answer was lost is missing from the result. The legacy dialect has no such method: then the result
    allows nothing, without any request.
    """
    if client.dialect is Dialect.LEGACY:
        return {id: frozenset() for id in task_ids}
    answers = client.batch([Command(f"a{id}", "tasks.task.getaccess", {"taskId": id}) for id in task_ids])
    known = {id: answers[f"a{id}"] for id in task_ids if not isinstance(answers[f"a{id}"], Unknown)}
    return {id: _allowed(answer) for id, answer in known.items()}


def send(client: Client, acts: Iterable[tuple[int, Act]]) -> dict[tuple[int, Act], Reply]:
    """Change the status of tasks, in the given order, in one request of at most 50 acts.

    Do not repeat it after Unknown: read first. Raises like Client.batch; the error then applies to all acts.
    """
    wanted = list(acts)
    answers = client.batch([Command(act.key(id), act.method, {"taskId": id}) for id, act in wanted])
    return {(id, act): _about(id, answers[act.key(id)]) for id, act in wanted}


def _about(task_id: int, reply: Reply) -> Reply:
    """The reply, or Unknown if it shows another task: then only reading the task tells what happened."""
    task = reply.result.get("task") if isinstance(reply, Answer) and isinstance(reply.result, dict) else None
    is_foreign = isinstance(task, dict) and _task_id(task) != task_id
    return Unknown("answer_for_another_task") if is_foreign else reply


def state_in(answer: Reply) -> TaskState | Unreadable | None:
    """The task in the answer to a change of status. None if it failed, or the person may no longer read the task."""
    task = answer.result.get("task") if isinstance(answer, Answer) and isinstance(answer.result, dict) else None
    return _state(task) if isinstance(task, dict) else None


def shows_direct_defer(answer: Answer) -> bool:
    """Whether the answer to a change of status says that the task is in progress and can be deferred directly."""
    found = state_in(answer)
    return isinstance(found, TaskState) and found.status == Status.IN_PROGRESS and found.may_defer


def _state(raw: dict[str, Any]) -> TaskState | Unreadable:
    """The task in a row, or UNREADABLE if the row cannot be parsed."""
    try:
        return _state_of(raw)
    except (KeyError, TypeError, ValueError):
        return UNREADABLE


def _task_id(raw: Any) -> int | None:
    """The id of the task in a row; None if it has no readable id."""
    return bounds.identity(raw.get("id")) if isinstance(raw, dict) else None


def _state_of(raw: dict[str, Any]) -> TaskState:
    people = [raw.get("createdBy"), raw.get("responsibleId"), *_values(raw.get("accomplices"))]
    names = {_id(companion): _name(companion) for companion in (raw.get("creator"), raw.get("responsible"))}
    changed_by = _user(raw.get("statusChangedBy"))
    return TaskState(
        id=_needed(_task_id(raw)),
        title=_title(raw),
        status=_needed(_status(raw)),
        participants=frozenset(user for person in people if (user := _user(person))),
        status_changed_by=changed_by,
        status_changed_at=bounds.moment(raw.get("statusChangedDate")),
        creator=_name(raw.get("creator")),
        changed_by=names.get(changed_by, ""),
        may_defer=isinstance(raw.get("action"), dict) and raw["action"].get("defer") is True,
    )


def _needed(value: int | None) -> int:
    """The value. Raises ValueError if it is missing."""
    if value is None:
        raise ValueError("unreadable")
    return value


def _user(value: Any) -> int | None:
    """A user id; None stands for no user. Raises ValueError if it cannot be read."""
    return None if value in (None, "", 0, "0", False) else _needed(bounds.identity(value))


def _status(raw: Mapping[str, Any]) -> Status | None:
    number = bounds.whole(raw.get("status"))
    return Status(number) if number in STATUSES else None


def _values(bag: Any) -> list[Any]:
    """The values of a PHP array: a list, or a map with numbers as keys."""
    return list(bag.values()) if isinstance(bag, dict) else list(bag or [])


def _rows(answer: Answer) -> list[TaskRow]:
    """The tasks in the answer to a list, at most PAGE_SIZE. A row without a readable id is left out."""
    return [_row(raw, id) for raw in _tasks(answer)[:PAGE_SIZE] if (id := _task_id(raw))]


def _row(raw: dict[str, Any], id: int) -> TaskRow:
    """The task in a row of a list. What cannot be read of it is unknown, and the status then 0."""
    return TaskRow(
        id=id,
        title=_title(raw),
        status=_status(raw) or 0,
        deadline=bounds.moment(raw.get("deadline")),
        responsible=_name(raw.get("responsible")),
        project=_name(raw.get("group")),
        responsible_id=bounds.identity(raw.get("responsibleId")),
        active_at=bounds.moment(raw.get("activityDate")),
    )


def _title(raw: Mapping[str, Any]) -> str:
    return bounds.text(raw.get("title"), bounds.LONGEST_TITLE)


def _name(companion: Any) -> str:
    """The name in a companion object. [] stands for no person."""
    return bounds.text(companion.get("name"), bounds.LONGEST_NAME) if isinstance(companion, dict) else ""


def _id(companion: Any) -> int | None:
    """The user id in a companion object."""
    return bounds.identity(companion.get("id")) if isinstance(companion, dict) else None


def _tasks(answer: Answer) -> list[Any]:
    """The unparsed rows of a list. Raises Unknown if the answer is not a list."""
    tasks = answer.result.get("tasks") if isinstance(answer.result, dict) else None
    if not isinstance(tasks, list):
        raise Unknown("garbled_list")
    return tasks


def _allowed(answer: Reply) -> frozenset[str]:
    """What one answer of getaccess allows. If the portal refuses to answer for a task, it allows nothing."""
    if isinstance(answer, (Refused, NoSuchMethod)):
        return frozenset()
    result = success(answer).result
    actions = result.get("allowedActions") if isinstance(result, dict) else None
    if not isinstance(actions, dict):
        return frozenset()
    granted: Any = next(iter(actions.values()), {})
    return frozenset(name for name, yes in granted.items() if yes) if isinstance(granted, dict) else frozenset()
