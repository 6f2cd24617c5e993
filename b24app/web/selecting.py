"""From ticked tasks to the dialog: a selection is collected, then shown with its forecast."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from b24app.bitrix.errors import BitrixError
from b24app.engine import selections
from b24app.models import Person, Selection
from b24app.web.active import ListForm, Listing
from b24app.web.texts import no_worker, selection_trouble, trouble
from b24app.web.tickets import ticketed
from b24app.worker import messages

POLL_COLLECTING = 700  # milliseconds


class SelectionForm(ListForm):
    """The list that a selection was made from, and what was ticked: ids, or everything but `excluded`."""

    ids = forms.CharField(required=False)
    everything = forms.BooleanField(required=False)
    excluded = forms.CharField(required=False)
    total = forms.IntegerField(min_value=0, required=False)

    def clean_ids(self) -> list[int]:
        return _numbers(self.cleaned_data["ids"])

    def clean_excluded(self) -> list[int]:
        excluded = _numbers(self.cleaned_data["excluded"])
        if len(excluded) > selections.MAX_TASKS:
            raise forms.ValidationError("more than can be selected")
        return excluded


def _numbers(text: str) -> list[int]:
    words = [word for word in text.split(",") if word]
    if not all(word.isascii() and word.isdigit() and len(word) < 16 for word in words):
        raise forms.ValidationError("not a list of numbers")
    return [int(word) for word in words]


@require_POST
@ticketed
def select(request: HttpRequest, person: Person) -> HttpResponse:
    """Make what was ticked definite; the answer is the dialog, or how far collecting has come."""
    form = SelectionForm(request.POST)
    wanted = Listing.of_form(form, person)
    try:
        selection = _selection(person, wanted, form.cleaned_data)
    except BitrixError as error:
        return render(request, "dialog/_trouble.html", {"trouble": trouble(error)})
    if selection.state == Selection.State.COLLECTING:
        transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    return _show(request, selection, form.cleaned_data["total"] or len(selection.wanted_ids))


def _selection(person: Person, wanted: Listing, asked: dict[str, Any]) -> Selection:
    if asked["everything"]:
        excluded = tuple(asked["excluded"])
        return selections.select_matching(person, replace(wanted.wanted(), excluded=excluded))
    if not asked["ids"]:
        raise SuspiciousOperation("nothing selected")
    return selections.select_ticked(person, asked["ids"])


@require_GET
@ticketed
def watch(request: HttpRequest, person: Person, selection_id: UUID) -> HttpResponse:
    found = get_object_or_404(person.selections, pk=selection_id)
    total = request.GET.get("total", "")
    return _show(request, found, int(total) if total.isascii() and total.isdigit() else 0)


def _show(request: HttpRequest, selection: Selection, total: int) -> HttpResponse:
    """A selection as the dialog shows it: how far it has come, what would be done, or why it cannot be."""
    context = {"selection": selection, "total": min(total, selections.MAX_TASKS), "delay": POLL_COLLECTING}
    if selection.state == Selection.State.COLLECTING and selections.is_alive(selection):
        context["waits"] = no_worker() if selections.is_stalled(selection) else ""
        return render(request, "dialog/_collecting.html", context)
    if selection.state == Selection.State.FAILED:
        return render(request, "dialog/_trouble.html", {"trouble": selection_trouble(selection.failure_code)})
    if not selections.is_alive(selection):
        return render(request, "dialog/_expired.html", context)
    forecast = selections.forecast(selection)
    context |= {"forecast": forecast, "will_skip": forecast.total - forecast.to_send}
    return render(request, "dialog/_defer.html", context)
