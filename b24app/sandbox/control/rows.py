"""Finding and changing the rows that the verbs name."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Max
from django.utils.dateparse import parse_datetime

from ..portal import clock
from ..portal.models import App, Installation, Portal, User
from ..weather.verbs import Body


def portal_of(body: Body) -> Portal:
    return Portal.objects.get(key=body["portal"])


def user_of(portal: Portal, number: int) -> User:
    return User.objects.select_related("portal").get(portal=portal, number=number)


def app_of(body: Body) -> App:
    """The app with this client_id, else the first app."""
    return App.objects.get(client_id=body["client_id"]) if "client_id" in body else App.objects.order_by("pk")[0]


def installation_of(body: Body) -> Installation:
    found = Installation.objects.select_related("portal", "app").filter(portal=portal_of(body))
    return found.get(app__client_id=body["client_id"]) if "client_id" in body else found.order_by("pk")[0]


def next_number(rows: models.QuerySet[Any]) -> int:
    return (rows.aggregate(last=Max("number"))["last"] or 0) + 1


def change(row: models.Model, body: Body, *names: str) -> None:
    """Set those of the named columns that the body has, and save the row."""
    for name in names:
        if name in body:
            setattr(row, name, body[name])
    row.save()


def moment(value: Any) -> datetime | None:
    """A time given as an ISO instant, or as seconds from now (negative for the past)."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(clock.seconds() + value, clock.now().tzinfo)
    return parse_datetime(value) if value else None
