"""Verbs about the app, its installation, its openings and its tokens."""

from django.db import models

from ..app import lifecycle, openings
from ..oauth.codes import issue_code
from ..portal import clock
from ..portal.models import Token, Webhook
from ..weather.verbs import Body, verb
from .rows import app_of, change, installation_of, portal_of, user_of


@verb
def install(body: Body) -> Body:
    """Install the app: {portal, client_id?, scope?, finished? (default true)}; also after an uninstall."""
    portal = portal_of(body)
    row = lifecycle.install(portal, app_of(body))
    change(row, body, "scope", "version", "status", "payment_expired")
    if body.get("finished", True):
        lifecycle.finish(row)
    return {"application_token": row.application_token, "installation": row.pk}


@verb
def finish(body: Body) -> None:
    """Do what installFinish does: {portal}."""
    lifecycle.finish(installation_of(body))


@verb
def update(body: Body) -> int:
    """Install the next version, whose installer must run again: {portal} -> version."""
    return lifecycle.update(installation_of(body)).version


@verb
def pay(body: Body) -> None:
    """Change the subscription: {portal, status?, expired?, days?}. The app gets ONAPPPAYMENT."""
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
    """Remove the app: {portal, clean?}. The app gets ONAPPUNINSTALL if it has a handler."""
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
    """A code, as /oauth/authorize/ issues it: {portal, user} -> code."""
    row = installation_of(body)
    return issue_code(row, user_of(row.portal, body["user"]))


@verb
def app(body: Body) -> Body:
    """Read or change the app as the vendor knows it: {client_id?, name?, origin?, main_path?, scope?, …}."""
    row = app_of(body)
    names = ("name", "code", "origin", "main_path", "installer_path", "scope")
    change(row, body, *names)
    return {"client_id": row.client_id} | {name: getattr(row, name) for name in names}


@verb
def webhook(body: Body) -> str:
    """Create an incoming webhook: {portal, user, scope?, secret?} -> its path, `UID/SECRET`."""
    person = user_of(portal_of(body), body["user"])
    row = Webhook(user=person, secret=body.get("secret", f"s{clock.seconds():.6f}".replace(".", "")))
    change(row, body, "scope")
    return f"{person.number}/{row.secret}"


def tokens_of(body: Body) -> models.QuerySet[Token]:
    rows = Token.objects.filter(installation__portal=portal_of(body))
    if "user" in body:
        rows = rows.filter(user__number=body["user"])
    return rows.filter(pk=body["token"]) if "token" in body else rows


@verb
def expire(body: Body) -> int:
    """Let access tokens expire now: {portal, user?, token?}. With {refresh: true}, refresh tokens too."""
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
