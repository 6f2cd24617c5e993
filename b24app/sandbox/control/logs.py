"""Verbs that read the logs, and the one that empties everything."""

from django.apps import apps
from django.db import connection, models, transaction

from ..oauth.codes import codes
from ..portal import clock, knobs
from ..portal.models import App, Change, Portal, Request
from ..weather import faults, limits
from ..weather.verbs import Body, verb
from .rows import portal_of


@verb
def truth(body: Body) -> list[Body]:
    """{portal, since? (id)} -> the changes of real statuses, oldest first."""
    rows = Change.objects.filter(portal=portal_of(body), pk__gt=body.get("since", 0)).order_by("pk")
    names = ("id", "at", "task", "before", "after", "method", "token", "request")
    return list(rows.values(*names, person=models.F("user__number")))


@verb
def requests(body: Body) -> list[Body]:
    """{portal? (null: the OAuth server; missing: all), since? (id)} -> the requests, oldest first."""
    rows = Request.objects.filter(pk__gt=body.get("since", 0)).order_by("pk")
    if "portal" in body:
        rows = rows.filter(portal=portal_of(body) if body["portal"] else None)
    names = ("id", "at", "method", "token", "commands", "params", "status", "code", "milliseconds")
    found = rows.values(*names, person=models.F("user__number"), at_portal=models.F("portal__key"))
    return [{"portal": row.pop("at_portal"), **row} for row in found]


@verb
def reset(body: Body) -> None:
    """Empty the portals: no people, no installations, no turned knobs, no logs."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in apps.get_app_config("sandbox").get_models(include_auto_created=True):
            if model not in (Portal, App):
                # Table by table: the ORM would follow all relations, which takes ten times as long.
                cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 -- the name is not user input
        Portal.objects.update(
            deleted=False,
            rest_allowed=True,
            language="en",
            zone="Europe/Berlin",
            license_family="basic",
            host=models.F("first_host"),
        )
    if clock.CLOCK_FILE is not None:
        clock.CLOCK_FILE.unlink(missing_ok=True)
    faults.armed.clear()
    knobs.load()
    limits.forget()
    codes.clear()
