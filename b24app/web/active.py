"""The list of active tasks."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from b24app.bitrix import tasks
from b24app.bitrix.client import Answer, Client, Command, Reply, success
from b24app.bitrix.errors import BitrixError
from b24app.bitrix.payloads import Opening
from b24app.bitrix.tasks import Page, Sort, Status, TaskFilter
from b24app.engine import selections
from b24app.models import Person
from b24app.portals import clients, openings
from b24app.web.texts import task_links, trouble
from b24app.web.tickets import ticketed

# What the switch above the list offers, and the real statuses behind it.
SHOWN = {
    "progress": (Status.IN_PROGRESS,),
    "pending": (Status.NEW, Status.PENDING),
    "both": tasks.CAN_BE_DEFERRED,
}
SHOWN_WORDS = {
    "progress": gettext_lazy("In progress"),
    "pending": gettext_lazy("Pending"),
    "both": gettext_lazy("Both"),
}
COLUMNS = (
    (Sort.TITLE, gettext_lazy("Name")),
    (Sort.ACTIVITY, gettext_lazy("Activity")),
    (Sort.DEADLINE, gettext_lazy("Deadline")),
)
MAX_PAGE = 1000  # a list is paged by offset, which gets slow at a portal far down


class ListForm(forms.Form):
    """What the page asks for when it asks for a list."""

    owner = forms.IntegerField(min_value=1, required=False)
    project = forms.IntegerField(min_value=1, required=False)
    task = forms.IntegerField(min_value=1, required=False)
    shown = forms.ChoiceField(choices=list(SHOWN_WORDS.items()), required=False)
    title = forms.CharField(max_length=100, required=False)
    sort = forms.ChoiceField(choices=[(sort.value, sort.value) for sort in Sort], required=False)
    descending = forms.BooleanField(required=False)
    page = forms.IntegerField(min_value=1, max_value=MAX_PAGE, required=False)


@dataclass(frozen=True)
class Listing:
    """Which list a page shows: whose or of which project, what of it, in which order, from where on."""

    owner: int | None = None
    project: int | None = None
    task: int | None = None
    shown: str = "progress"
    title: str = ""
    sort: Sort = Sort.ACTIVITY
    descending: bool = True
    page: int = 1

    @classmethod
    def of_opening(cls, opening: Opening) -> Self:
        """The list that the page was opened from; `owner` is missing where only the portal knows who opens it."""
        if opening.task_id:
            return cls(task=opening.task_id, shown="both")
        return cls(owner=None if opening.project_id else opening.owner_id, project=opening.project_id)

    @classmethod
    def of_form(cls, form: forms.Form, person: Person) -> Self:
        """The list that was asked for. Raises SuspiciousOperation, as our own pages do not ask in vain."""
        if not form.is_valid():
            raise SuspiciousOperation("not a list")
        asked = form.cleaned_data
        listing = cls(
            owner=asked["owner"],
            project=asked["project"],
            task=asked["task"],
            shown=asked["shown"] or cls.shown,
            title=asked["title"],
            sort=Sort(asked["sort"] or cls.sort),
            descending=asked["descending"] if asked["sort"] else cls.descending,
            page=asked["page"] or 1,
        )
        return listing.seen_by(person)

    def seen_by(self, person: Person) -> Self:
        """The same list, with its owner named: where none is, it is the viewer."""
        nowhere = not (self.owner or self.project or self.task)
        return replace(self, owner=person.user_id) if nowhere else self

    def wanted(self) -> TaskFilter:
        nowhere = not (self.owner or self.project or self.task)
        return TaskFilter(
            statuses=SHOWN[self.shown],
            member_id=openings.VIEWER if nowhere else self.owner,
            project_id=self.project,
            task_id=self.task,
            title=self.title,
        )

    def command(self) -> Command:
        return tasks.list_command("page", self.wanted(), self.sort, self.descending, self.page)

    def url(self, **changes: Any) -> str:
        """Where the list, with these changes, is to be had."""
        fields = asdict(replace(self, **changes))
        return f"{reverse('tasks')}?{urlencode({name: value for name, value in fields.items() if value})}"

    def identity(self) -> str:
        """What "everything that matches" means, whatever the order and the page, as a query."""
        fields = asdict(self)
        return urlencode(
            {name: fields[name] for name in ("owner", "project", "task", "shown", "title") if fields[name]}
        )

    def hidden_fields(self) -> list[tuple[str, Any]]:
        """What the filter form carries along without showing it."""
        fields = asdict(self)
        return [(name, fields[name]) for name in ("owner", "project", "task", "sort", "descending") if fields[name]]


@require_GET
@ticketed
def show(request: HttpRequest, person: Person) -> HttpResponse:
    wanted, answer = _page_or_last(person, Listing.of_form(ListForm(request.GET), person))
    return render(request, "active/_list.html", {**list_context(person, wanted, answer), "alone": True})


def _call(client: Client, wanted: Listing) -> Answer:
    command = wanted.command()
    return client.call(command.method, command.params)


def _page_or_last(person: Person, wanted: Listing) -> tuple[Listing, Reply]:
    """The page asked for, or the last one there is when the list has become shorter than that."""
    answer = _ask(person, wanted)
    if wanted.page == 1 or isinstance(answer, BitrixError):
        return wanted, answer
    try:
        found = tasks.page_of(answer)
    except BitrixError as error:
        return wanted, error
    if found.tasks:
        return wanted, answer
    shorter = replace(wanted, page=min(wanted.page - 1, _pages(found.total)))
    return shorter, _ask(person, shorter)


def _ask(person: Person, wanted: Listing) -> Reply:
    try:
        return clients.ask(person, lambda client: _call(client, wanted))
    except BitrixError as error:
        return error


def _pages(total: int) -> int:
    return min(MAX_PAGE, max(1, -(-total // tasks.PAGE_SIZE)))


def list_context(person: Person, listing: Listing, answer: Reply) -> dict[str, Any]:
    """What the list's template shows: a page of tasks, or what is the matter."""
    context: dict[str, Any] = {
        **task_links(person),
        "listing": listing,
        "shown_choices": list(SHOWN_WORDS.items()),
        "hidden_fields": listing.hidden_fields(),
        "selection_of": listing.identity(),
        "again": listing.url(),
    }
    try:
        page = tasks.page_of(success(answer))
    except BitrixError as error:
        return {**context, "trouble": trouble(error)}
    pages = _pages(page.total)
    return {
        **context,
        "tasks": page.tasks,
        "total": page.total,
        "selectable": min(page.total, selections.MAX_TASKS),
        "pages": pages,
        "page_links": [(number, listing.url(page=number)) for number in _pages_near(listing.page, pages)],
        "previous": listing.url(page=listing.page - 1) if listing.page > 1 else "",
        "next": listing.url(page=listing.page + 1) if listing.page < pages else "",
        "columns": {sort.name: _column(listing, sort, name) for sort, name in COLUMNS},
        "scope": _scope(person, listing, page),
    }


def _pages_near(page: int, pages: int) -> list[int]:
    """The page numbers to offer: the first, the last, and those around this one; 0 stands for a gap."""
    near = sorted({1, pages, *range(max(1, page - 2), min(pages, page + 2) + 1)})
    gaps = (([0] if number - before > 1 else []) + [number] for before, number in zip([0, *near], near, strict=False))
    return [number for numbers in gaps for number in numbers]


def _column(listing: Listing, sort: Sort, name: Any) -> dict[str, Any]:
    """A sortable column's head: its name, how it is sorted, and where a press leads."""
    sorted_now = listing.sort == sort
    descending = not listing.descending if sorted_now else sort == Sort.ACTIVITY
    order = ("descending" if listing.descending else "ascending") if sorted_now else "none"
    return {"name": name, "order": order, "url": listing.url(sort=sort, descending=descending, page=1)}


def _scope(person: Person, listing: Listing, page: Page) -> dict[str, str]:
    """Whose list it is, by a name if a row on it tells."""
    if listing.task:
        return {"kind": "task", "name": page.tasks[0].title if page.tasks else ""}
    if listing.project:
        return {"kind": "project", "name": next((task.project for task in page.tasks if task.project), "")}
    if listing.owner == person.user_id:
        return {"kind": "mine", "name": person.name}
    theirs = (task.responsible for task in page.tasks if task.responsible_id == listing.owner)
    return {"kind": "colleague", "name": next(theirs, "")}
