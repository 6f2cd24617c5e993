"""The page at /control/ that shows the logs live, and the data that it polls every second."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ..portal import clock, knobs, truth
from ..portal.models import Change, Portal, Request, Token, User
from ..portal.statuses import status_name
from ..weather import limits

STATIC = Path(__file__).resolve().parent / "static"
REQUESTS, CHANGES, TOKENS = 60, 100, 60  # rows on the page
OAUTH = "oauth"  # instead of a portal's key: only requests to the authorization server

Row = dict[str, Any]


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The page for the portal of this host; for all portals at the authorization server."""
    here = Portal.objects.filter(host=request.get_host().lower()).first()
    chosen = request.GET.get("portal", here.key if here else "")
    context = {"portals": Portal.objects.order_by("pk"), "here": here, "chosen": chosen, "oauth": OAUTH}
    return render(request, "control/templates/watch.html", context)


@require_GET
def news(request: HttpRequest) -> HttpResponse:
    """The newest rows of everything as JSON, newest first. Answers 204 if `seen` is the current `stamp`.

    `portal` is a key, "oauth", or empty for all. Tokens are row ids; secrets are never shown.
    """
    found = overview(request.GET.get("portal", ""))
    text = json.dumps(found)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:16]
    if request.GET.get("seen") == stamp:
        return HttpResponse(status=204)
    return HttpResponse(json.dumps({"stamp": stamp, **found}), content_type="application/json")


def overview(key: str) -> dict[str, list[Row]]:
    portals = Portal.objects.filter(key=key) if key else Portal.objects.order_by("pk")
    requests: QuerySet[Request] = Request.objects.all()
    if key == OAUTH:
        requests = requests.filter(portal=None)
    elif key:
        requests = requests.filter(portal__in=portals)
    tokens = Token.objects.filter(installation__portal__in=portals)
    return {
        "requests": request_rows(requests.order_by("-pk")[:REQUESTS]),
        "changes": change_rows(Change.objects.filter(portal__in=portals).order_by("-pk")[:CHANGES]),
        "tokens": token_rows(tokens.order_by("-pk")[:TOKENS]),
        "buckets": [row for portal in portals for row in bucket_rows(portal)],
        "operating": [row for portal in portals for row in operating_rows(portal)],
    }


def person(user: User | None) -> str:
    return f"{user.full_name} ({user.number})" if user is not None else ""


def shown(params: Any) -> Any:
    """Parameters without secrets, and without the commands of a batch, which have separate rows."""
    if not isinstance(params, dict):
        return params
    return {name: value for name, value in params.items() if name.lower() not in {*truth.SECRETS, "cmd"}}


def request_rows(rows: QuerySet[Request]) -> list[Row]:
    return [
        {
            "id": row.pk,
            "at": row.at,
            "portal": row.portal.key if row.portal is not None else OAUTH,
            "method": row.method,
            "token": row.token_id,
            "person": person(row.user),
            "params": shown(row.params),
            "commands": [[key, method, shown(params), code] for key, method, params, code in row.commands],
            "status": row.status,
            "code": row.code,
            "milliseconds": row.milliseconds,  # 0 and no status: still running
        }
        for row in rows.select_related("portal", "user")
    ]


def change_rows(rows: QuerySet[Change]) -> list[Row]:
    return [
        {
            "id": row.pk,
            "at": row.at,
            "portal": row.portal.key,
            "task": row.task,
            "before": status_name(row.before, "en"),
            "after": status_name(row.after, "en"),
            "method": row.method,
            "person": person(row.user),
            "token": row.token_id,
            "request": row.request_id,
        }
        for row in rows.select_related("portal", "user")
    ]


def token_rows(rows: QuerySet[Token]) -> list[Row]:
    found: Iterable[Token] = rows.select_related("user").annotate(key=F("installation__portal__key"))
    return [
        {
            "id": row.pk,
            "portal": row.key,  # type: ignore[attr-defined]
            "person": person(row.user),
            "chain": row.chain[:6],
            "expires": row.expires,
            "state": token_state(row),
        }
        for row in found
    ]


def token_state(token: Token) -> str:
    if token.revoked:
        return "revoked"
    if token.spent_at is not None:
        return "spent"
    return "expired" if token.expires <= clock.seconds() else "good"


def bucket_rows(portal: Portal) -> list[Row]:
    size, drain = limits.bucket_of(portal)
    levels = limits.bucket_levels(portal)
    return [
        {"portal": portal.key, "address": address, "level": round(level, 1), "size": size, "drain": drain}
        for address, level in levels.items()
    ]


def operating_rows(portal: Portal) -> list[Row]:
    limit = knobs.knob("limits.operating", portal.key)
    rows = []
    for app, method in limits.operating_methods(portal):
        spent, resets_at = limits.operating_spent(portal, app, method)
        if spent:
            seconds = round(spent, 2)
            rows.append({"portal": portal.key, "method": method, "spent": seconds, "limit": limit, "at": resets_at})
    return rows
