"""The answers of a portal: envelopes, their `time`, errors, JSON."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpResponse

from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import Portal
from ..weather import limits
from .call import Page

HEADERS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}


def envelope(result: Any, portal_key: str) -> dict[str, Any]:
    """The answer to one command. Page numbers stand beside the result, as a portal does it."""
    if not isinstance(result, Page):
        return {"result": result}
    paging = {name: value for name in ("next", "total") if (value := getattr(result, name)) is not None}
    if knobs.trap("pages_beside_result", portal_key):
        return {"result": result.rows, **paging}
    return {"result": {**result.rows, **paging}}


def timing(portal: Portal, started: float, cost: float) -> dict[str, Any]:
    """The `time` of an answer that is ready now. It reports `cost` seconds even if they were not slept."""
    zone, finished = ZoneInfo(portal.zone), clock.seconds()
    took = finished - started
    told = {
        "start": started,
        "finish": finished,
        "duration": max(took, cost * float(knobs.knob("cost.told"))),
        "processing": max(took, cost),
        "date_start": datetime.fromtimestamp(started, zone).isoformat(timespec="seconds"),
        "date_finish": datetime.fromtimestamp(finished, zone).isoformat(timespec="seconds"),
    }
    if limits.are_counted(portal):
        told |= {"operating_reset_at": int(finished) + 600, "operating": 0.0}
    return told


def refusal(error: RestError) -> HttpResponse:
    return json_response(error.status, error.body())


def json_response(status: int, body: Any) -> HttpResponse:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, status=status, content_type="application/json; charset=utf-8", headers=HEADERS)


def code_in(response: HttpResponse | None) -> str:
    """The error code of an answer, for the log; empty if it has none."""
    if response is None or not response.headers["Content-Type"].startswith("application/json"):
        return ""
    if not response.content.startswith(b'{"error"'):
        return ""
    try:
        return str(json.loads(response.content)["error"])
    except ValueError:  # a fault cut the body short
        return ""
