"""Verbs about portals, people and projects."""

from ..portal.models import Portal, Project, Setting, User
from ..weather import modes
from ..weather.verbs import Body, verb
from .rows import change, next_number, portal_of, user_of


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
    """Make a portal a cloud portal, a box or an old box: {portal, mode: cloud | box | old_box}."""
    modes.make(portal_of(body).key, body["mode"])


@verb
def rename(body: Body) -> None:
    """Give a portal another host: {portal, host}. The old host answers 302 from now on."""
    row = portal_of(body)
    Setting.objects.update_or_create(key=f"moved:{row.host}", defaults={"value": body["host"]})
    row.host = body["host"]
    row.save(update_fields=["host"])


@verb
def user(body: Body) -> int:
    """Create or change a person: {portal, number?, name?, is_admin?, boss? (number), …} -> number."""
    portal = portal_of(body)
    number = body.get("number") or next_number(portal.users.all())
    row = User.objects.filter(portal=portal, number=number).first()
    if row is None:
        row = User(portal=portal, number=number, name=f"User{number}", last_name="Test")
    if "boss" in body:
        row.boss = user_of(portal, body["boss"]) if body["boss"] else None
    names = ("name", "last_name", "position", "zone", "language", "is_admin", "active", "may_use_app")
    change(row, body, *names)
    return number


@verb
def project(body: Body) -> int:
    """Create or change a project: {portal, number?, name?, members: [numbers], editors: [numbers]} -> number."""
    portal = portal_of(body)
    number = body.get("number") or next_number(portal.projects.all())
    row, _ = Project.objects.get_or_create(portal=portal, number=number)
    change(row, {"name": f"Project {number}"} | body, "name")
    row.members.set(portal.users.filter(number__in=body.get("members", [])))
    row.editors.set(portal.users.filter(number__in=body.get("editors", [])))
    return number
