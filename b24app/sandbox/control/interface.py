"""The control interface: POST /control/‹verb› with a JSON map, at any host; the answer is JSON.

For tests and demos only; it is as open as the sandbox, which listens on loopback. Portals are named by key,
people, projects and tasks by their numbers at that portal. `tests/sandbox_client.py` wraps every verb.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, models, transaction
from django.db.models import Max
from django.http import HttpRequest, JsonResponse
from django.utils.dateparse import parse_datetime
from django.views.decorators.csrf import csrf_exempt

from ..app import events, lifecycle, openings
from ..oauth import server
from ..portal import clock, knobs
from ..portal.models import (
    App,
    Change,
    EventHandler,
    Fault,
    Installation,
    Label,
    Portal,
    Project,
    Request,
    Setting,
    Task,
    Token,
    User,
    Webhook,
)
from ..tasks import timers
from ..weather import faults, limits, modes
from ..weather.verbs import VERBS, Body, verb


@csrf_exempt
def control(request: HttpRequest, verb: str) -> JsonResponse:
    run = VERBS.get(verb)
    if run is None:
        return JsonResponse({"error": f"No such verb. There are: {', '.join(sorted(VERBS))}"}, status=404)
    try:
        return JsonResponse({"result": run(json.loads(request.body or b"{}"))})
    except (KeyError, ValueError, TypeError, ObjectDoesNotExist) as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)


@verb
def many(body: Body) -> list[Any]:
    """Run verbs one after another: {calls: [[verb, {…}], …]}; what each answers. All of them, or none."""
    with transaction.atomic():
        return [VERBS[name](given) for name, given in body["calls"]]


# -- Who and what there is --------------------------------------------------------------------------------


def portal_of(body: Body) -> Portal:
    return Portal.objects.get(key=body["portal"])


def user_of(portal: Portal, number: int) -> User:
    return User.objects.select_related("portal").get(portal=portal, number=number)


def installation_of(body: Body) -> Installation:
    found = Installation.objects.select_related("portal", "app").filter(portal=portal_of(body))
    return found.get(app__client_id=body["client_id"]) if "client_id" in body else found.order_by("pk")[0]


def next_number(rows: models.QuerySet[Any]) -> int:
    return (rows.aggregate(last=Max("number"))["last"] or 0) + 1


@verb
def portals(body: Body) -> list[Body]:
    """All portals, as {key, host, member_id}."""
    return [{"key": row.key, "host": row.host, "member_id": row.member_id} for row in Portal.objects.all()]


@verb
def portal(body: Body) -> Body:
    """Change a portal: {portal, language?, zone?, license_family?, rest_allowed?, deleted?}."""
    row = portal_of(body)
    change(row, body, "language", "zone", "license_family", "rest_allowed", "deleted", "name")
    return {"key": row.key, "host": row.host, "member_id": row.member_id}


@verb
def mode(body: Body) -> None:
    """Make a portal one of the cloud, a box or an old box: {portal, mode: cloud | box | old_box}."""
    modes.make(portal_of(body).key, body["mode"])


@verb
def rename(body: Body) -> None:
    """Give a portal another {host}; the old one answers 302 from now on."""
    row = portal_of(body)
    Setting.objects.update_or_create(key=f"moved:{row.host}", defaults={"value": body["host"]})
    row.host = body["host"]
    row.save(update_fields=["host"])


@verb
def user(body: Body) -> int:
    """Make or change a person: {portal, number?, name?, is_admin?, boss? (number), …}; the number."""
    portal = portal_of(body)
    number = body.get("number") or next_number(portal.users.all())
    row = User.objects.filter(portal=portal, number=number).first()
    if row is None:
        row = User(portal=portal, number=number, name=f"User{number}", last_name="Test")
    if "boss" in body:
        row.boss = user_of(portal, body["boss"]) if body["boss"] else None
    change(
        row,
        body,
        "name",
        "last_name",
        "position",
        "zone",
        "language",
        "is_admin",
        "active",
        "may_use_app",
    )
    return number


def change(row: models.Model, body: Body, *names: str) -> None:
    for name in names:
        if name in body:
            setattr(row, name, body[name])
    row.save()


@verb
def project(body: Body) -> int:
    """Make a project: {portal, number?, name?, members: [numbers], editors: [numbers]}; the number."""
    portal = portal_of(body)
    number = body.get("number") or next_number(portal.projects.all())
    row, _ = Project.objects.get_or_create(portal=portal, number=number)
    change(row, {"name": f"Project {number}"} | body, "name")
    row.members.set(portal.users.filter(number__in=body.get("members", [])))
    row.editors.set(portal.users.filter(number__in=body.get("editors", [])))
    return number


# -- Tasks ------------------------------------------------------------------------------------------------


@verb
def tasks(body: Body) -> list[int]:
    """Make many tasks at once; their numbers.

    {portal, tasks: [{…}, …]}, or {portal, count, …} for tasks alike. A task has creator, responsible,
    project, parent, accomplices, auditors, unviewed_by, depends_on (all numbers), number, status, title,
    description, mark, stage, sprint, backlog, task_control, allow_time_tracking, tags, crm and deadline (ISO, or
    seconds from now).
    """
    portal = portal_of(body)
    common = {name: value for name, value in body.items() if name not in ("portal", "tasks", "count")}
    specs = [common | spec for spec in body.get("tasks", [{}] * body.get("count", 0))]
    with transaction.atomic():
        made = create_tasks(portal, specs)
    if EventHandler.objects.filter(installation__portal=portal, event="ONTASKADD").exists():
        for row in made:
            events.task_added(row, None)
    return [row.number for row in made]


PLAIN = ("task_control", "allow_time_tracking", "mark", "stage", "sprint", "backlog", "priority")


def create_tasks(portal: Portal, specs: list[Body]) -> list[Task]:
    people: dict[Any, User] = {row.number: row for row in portal.users.all()}
    projects: dict[Any, Project] = {row.number: row for row in portal.projects.all()}
    free = next_number(portal.tasks.all())
    made = []
    for index, spec in enumerate(specs):
        number = spec.get("number") or free + index
        made.append(
            Task(
                portal=portal,
                number=number,
                title=spec.get("title", f"Task {number}"),
                description=spec.get("description", ""),
                status=spec.get("status", 2),
                creator=people[spec["creator"]],
                responsible=people[spec.get("responsible", spec["creator"])],
                project=projects[spec["project"]] if spec.get("project") else None,
                deadline=moment(spec.get("deadline")),
                parent=portal.tasks.get(number=spec["parent"]) if spec.get("parent") else None,
                **{name: spec[name] for name in PLAIN if name in spec},
                status_changed_by=people[spec["creator"]],
            )
        )
    Task.objects.bulk_create(made)
    for name in ("accomplices", "auditors", "unviewed_by"):
        pairs = [(row, people[number]) for row, spec in zip(made, specs, strict=True) for number in spec.get(name, [])]
        join(getattr(Task, name).through, pairs)
    for row, spec in zip(made, specs, strict=True):
        if spec.get("depends_on"):
            row.depends_on.set(portal.tasks.filter(number__in=spec["depends_on"]))
    Label.objects.bulk_create(
        Label(task=row, kind=kind, name=name)
        for row, spec in zip(made, specs, strict=True)
        for kind, names in ((Label.TAG, spec.get("tags", [])), (Label.CRM, spec.get("crm", [])))
        for name in names
    )
    return made


def join(through: Any, pairs: Iterable[tuple[Task, User]]) -> None:
    through.objects.bulk_create([through(task_id=task.pk, user_id=person.pk) for task, person in pairs])


def moment(value: Any) -> datetime | None:
    """An ISO instant, or seconds from now (negative for the past)."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(clock.seconds() + value, clock.now().tzinfo)
    return parse_datetime(value) if value else None


@verb
def change_task(body: Body) -> None:
    """Change a task by hand: {portal, task, status? | responsible? | deadline? | delete?}."""
    options = dict(body)
    if "deadline" in options:
        options["deadline"] = moment(options["deadline"])
    faults.change_task(portal_of(body), options)


@verb
def task_states(body: Body) -> dict[str, int]:
    """{portal, tasks?: [numbers]} -> real status by task number (as JSON keys are: strings)."""
    rows = portal_of(body).tasks.all()
    if "tasks" in body:
        rows = rows.filter(number__in=body["tasks"])
    return {str(number): status for number, status in rows.values_list("number", "status").order_by("number")}


@verb
def task(body: Body) -> Body:
    """{portal, task} -> {status, changes: [{before, after, method, person, …}], …}, oldest first."""
    row = portal_of(body).tasks.get(number=body["task"])
    changes = Change.objects.filter(portal=row.portal_id, task=row.number).order_by("pk")
    names = ("before", "after", "method", "token", "request")
    return {
        "status": row.status,
        "changes": list(changes.values(*names, person=models.F("user__number"))),
        "comments": list(row.comments.order_by("pk").values("text", person=models.F("user__number"))),
        "timers": list(row.timers.values_list("user__number", flat=True)),
        "time_spent": row.time_spent,
    }


@verb
def timer(body: Body) -> None:
    """Start a person's timer by hand: {portal, task, user}; {stop: true} stops it."""
    row = portal_of(body).tasks.get(number=body["task"])
    person = user_of(row.portal, body["user"])
    if not body.get("stop"):
        timers.start(row, person)
        return
    for running in row.timers.filter(user=person):
        timers.stop(running)


@verb
def notifications(body: Body) -> list[Body]:
    """{portal, user} -> what lies under the person's bell, oldest first."""
    rows = user_of(portal_of(body), body["user"]).notifications.order_by("pk").select_related("sender")
    return [{"message": row.message, "tag": row.tag, "from": row.sender.number if row.sender else None} for row in rows]


# -- The app ----------------------------------------------------------------------------------------------


@verb
def install(body: Body) -> Body:
    """Install the app: {portal, client_id?, scope?, finished? (default true)}; also after an uninstall."""
    portal = portal_of(body)
    app = App.objects.get(client_id=body["client_id"]) if "client_id" in body else App.objects.order_by("pk")[0]
    row = lifecycle.install(portal, app)
    change(row, body, "scope", "version", "status", "payment_expired")
    if body.get("finished", True):
        lifecycle.finish(row)
    return {"application_token": row.application_token, "installation": row.pk}


@verb
def finish(body: Body) -> None:
    """What installFinish does."""
    lifecycle.finish(installation_of(body))


@verb
def update(body: Body) -> int:
    """Install the next version, whose installer has to run again: {portal}; the version."""
    return lifecycle.update(installation_of(body)).version


@verb
def pay(body: Body) -> None:
    """The subscription changes: {portal, status?, expired?, days?}; tells the app by ONAPPPAYMENT."""
    row = installation_of(body)
    status, days = body.get("status", row.status), body.get("days", 0)
    lifecycle.pay(row, status, expired=body.get("expired", False), days=days)


@verb
def installation(body: Body) -> Body:
    """Read or change an installation: {portal, scope?, version?, status?, payment_expired?, …}."""
    row = installation_of(body)
    change(row, body, "scope", "version", "status", "payment_expired", "application_token")
    return {
        "active": row.active,
        "installed": row.installed,
        "scope": row.scope,
        "application_token": row.application_token,
        "placements": list(row.placements.order_by("pk").values("placement", "handler", "title", "lang_all")),
        "events": list(row.event_handlers.order_by("pk").values("event", "handler", "auth_type")),
    }


@verb
def uninstall(body: Body) -> None:
    """Remove the app: {portal, clean?}; tells the app by ONAPPUNINSTALL if it asked for that."""
    lifecycle.uninstall(installation_of(body), clean=body.get("clean", True))


@verb
def open_(body: Body) -> Body:
    """One opening: {portal, user, placement?, options?} -> {url, query, fields, access, refresh, token}."""
    row = installation_of(body)
    person = user_of(row.portal, body["user"])
    opening = openings.open_app(row, person, body.get("placement", "DEFAULT"), body.get("options"))
    return {
        "url": opening.url,
        "query": opening.query,
        "fields": opening.fields,
        "access": opening.token.access,
        "refresh": opening.token.refresh,
        "token": opening.token.pk,
    }


@verb
def code(body: Body) -> str:
    """A code as /oauth/authorize/ hands it out: {portal, user}."""
    row = installation_of(body)
    return server.issue_code(row, user_of(row.portal, body["user"]))


@verb
def app(body: Body) -> Body:
    """Read or change the app as the vendor knows it: {client_id?, name?, origin?, main_path?, scope?, …}."""
    row = App.objects.get(client_id=body["client_id"]) if "client_id" in body else App.objects.order_by("pk")[0]
    names = ("name", "code", "origin", "main_path", "installer_path", "scope")
    change(row, body, *names)
    return {"client_id": row.client_id} | {name: getattr(row, name) for name in names}


@verb
def webhook(body: Body) -> str:
    """Make an incoming webhook: {portal, user, scope?, secret?}; its path, `UID/SECRET`."""
    person = user_of(portal_of(body), body["user"])
    row = Webhook(user=person, secret=body.get("secret", f"s{clock.seconds():.6f}".replace(".", "")))
    change(row, body, "scope")
    return f"{person.number}/{row.secret}"


# -- Tokens -----------------------------------------------------------------------------------------------


def tokens_of(body: Body) -> models.QuerySet[Token]:
    rows = Token.objects.filter(installation__portal=portal_of(body))
    if "user" in body:
        rows = rows.filter(user__number=body["user"])
    return rows.filter(pk=body["token"]) if "token" in body else rows


@verb
def expire(body: Body) -> int:
    """Let access tokens expire now: {portal, user?, token?}; refresh tokens too with {refresh: true}."""
    past = clock.seconds() - 1
    if body.get("refresh"):
        tokens_of(body).update(refresh_expires=past)
    return tokens_of(body).update(expires=past)


@verb
def revoke(body: Body) -> int:
    """Kill token pairs: {portal, user?, token?}."""
    return tokens_of(body).update(revoked=True)


@verb
def tokens(body: Body) -> list[Body]:
    """{portal, user?} -> [{id, user, chain, expires, spent_at, revoked}], oldest first."""
    return [
        {
            "id": row.pk,
            "user": row.user.number,
            "chain": row.chain,
            "expires": row.expires,
            "spent_at": row.spent_at,
            "revoked": row.revoked,
        }
        for row in tokens_of(body).select_related("user").order_by("pk")
    ]


@verb
def time(body: Body) -> str:
    """What time it is; with {to}, an ISO instant or seconds ahead, what it is from now on. Moves the app too."""
    if "to" in body:
        clock.move(str(body["to"]))
    return clock.now().isoformat()


# -- Weather ----------------------------------------------------------------------------------------------


@verb
def settings(body: Body) -> dict[str, Any]:
    """Turn knobs: {name: value, …}, null for the default; see knobs.py. Answers all that are turned."""
    for name, value in body.items():
        knobs.turn(name, value)
    return dict(knobs.turned)


@verb
def traps(body: Body) -> dict[str, str]:
    """All traps with a line on each."""
    return knobs.TRAPS


@verb
def fault(body: Body) -> int:
    """Add a fault: {method, kind, portal?, times?, skip?, probability?, seed?, …options}; see faults.py."""
    own = {name: body[name] for name in ("method", "kind", "times", "skip", "probability", "seed") if name in body}
    options = {name: value for name, value in body.items() if name not in own and name != "portal"}
    if own["kind"] not in (*faults.BEFORE, *faults.AFTER) or options.get("verb", "fault") not in VERBS:
        raise ValueError(f"No fault is called {own['kind']}, or no verb {options.get('verb')}")
    portal = portal_of(body) if body.get("portal") else None
    faults.armed.set()
    return Fault.objects.create(portal=portal, options=options, **own).pk


@verb
def clear_faults(body: Body) -> None:
    Fault.objects.all().delete()
    faults.armed.clear()
    faults.dice.clear()


# -- The truth log ----------------------------------------------------------------------------------------


@verb
def truth(body: Body) -> list[Body]:
    """{portal, since? (id)} -> the changes of real statuses, oldest first."""
    rows = Change.objects.filter(portal=portal_of(body), pk__gt=body.get("since", 0)).order_by("pk")
    names = ("id", "at", "task", "before", "after", "method", "token", "request")
    return list(rows.values(*names, person=models.F("user__number")))


@verb
def requests(body: Body) -> list[Body]:
    """{portal? (null: the OAuth server; missing: all), since? (id)} -> every request, oldest first."""
    rows = Request.objects.filter(pk__gt=body.get("since", 0)).order_by("pk")
    if "portal" in body:
        rows = rows.filter(portal=portal_of(body) if body["portal"] else None)
    names = ("id", "at", "method", "token", "commands", "params", "status", "code", "milliseconds")
    found = rows.values(*names, person=models.F("user__number"), at_portal=models.F("portal__key"))
    return [{"portal": row.pop("at_portal"), **row} for row in found]


@verb
def reset(body: Body) -> None:
    """Back to bare portals: nobody, nothing installed, no knobs turned, empty logs."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in apps.get_app_config("sandbox").get_models(include_auto_created=True):
            if model not in (Portal, App):
                # Table by table, as the ORM's way through all that hangs together takes ten times as long.
                cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 -- a name of our own
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
    server.codes.clear()
