"""The REST transport: parameters, the order of checks, envelopes.

The order is the portal's: the front end's rate limit, portal deleted, method exists, token, operating limit,
method.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..app import tokens
from ..portal import clock, knobs, truth
from ..portal.errors import ConnectionCut, RestError, TimeUp
from ..portal.models import Portal, Request, Token, Webhook
from ..weather import faults, limits
from . import hosts, php
from .call import METHODS, Call, Method, Page, Params
from .hosts import PortalRequest

CREDENTIALS = ("auth", "access_token", "auth_connector")
ADDRESS = re.compile(r"(?:(?P<uid>\d+)/(?P<secret>[^/]+)/)?(?P<method>[\w.]+?)(?:\.json)?/?")
HEADERS = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class Address:
    """What the path says: /rest/[uid/secret/]method[.json]"""

    method: str
    uid: int = 0
    secret: str = ""


@csrf_exempt
def rest(request: PortalRequest, path: str) -> HttpResponse:
    """Answer one REST request of a portal, and write down that it came."""
    address = read_address(path)
    params, bad_json = read_parameters(request)
    row = truth.note_request(request.portal, address.method.lower(), params)
    response: HttpResponse | None = None
    try:
        name = row.method
        response = faults.strike_before(request.portal, name) or hosts.moved(request)
        if response is None:
            response = respond(request, address, params, row, bad_json=bad_json)
            response = faults.strike_after(request.portal, name, response)
    except RestError as error:
        response = refusal(error)
    except ConnectionCut:
        response = None
        faults.cut(request)
    finally:
        truth.note_answer(row, response.status_code if response is not None else None, code_in(response))
    return response or HttpResponse()


def respond(request: PortalRequest, address: Address, params: Params, row: Request, *, bad_json: bool) -> HttpResponse:
    portal = request.portal
    try:
        limits.count_request(portal, request.META["REMOTE_ADDR"])
        if portal.deleted:
            raise RestError(403, "PORTAL_DELETED", "Portal was deleted")
        if bad_json and not knobs.trap("bad_json_is_nothing", portal.key):
            raise RestError(400, "INVALID_REQUEST", "The body is not JSON")
        if not knobs.trap("method_before_token", portal.key):
            authenticate(request, address, params, row)
        method = find_method(portal, address.method)
        call = authenticate(request, address, params, row)
        call.ends_at = time.monotonic() + float(knobs.knob("limits.request_seconds", portal.key))
        body = run_command(call, method, without_credentials(params), outer=True)
    except RestError as error:
        return refusal(error)
    except TimeUp:
        return HttpResponse("<html><body><h1>504</h1></body></html>", status=504, content_type="text/html")
    return json_response(200, body)


def read_address(path: str) -> Address:
    found = ADDRESS.fullmatch(path)
    if found is None:
        return Address(path)
    return Address(found["method"], int(found["uid"] or 0), found["secret"] or "")


def read_parameters(request: HttpRequest) -> tuple[Params, bool]:
    """Query, form and JSON parameters in one map, the body's winning; and whether it was broken JSON."""
    params = php.parse_str(request.META.get("QUERY_STRING", ""))
    if request.method != "POST":
        return params, False
    if request.content_type == "multipart/form-data":
        pairs = [(name, value) for name, values in request.POST.lists() for value in values]
        return params | php.parse_pairs(pairs), False
    body = request.body
    if request.content_type != "application/json":
        return params | php.parse_str(body.decode(errors="replace")), False
    try:
        decoded = json.loads(body)
    except ValueError:
        return params, True
    return (params | decoded, False) if isinstance(decoded, dict) else (params, False)


def read_key(request: HttpRequest, params: Mapping[str, Any]) -> str:
    """The access token: header first, then `auth`, then `access_token`; an array is no token."""
    header = request.headers.get("Authorization", "")
    if header[:7].lower() == "bearer ":
        return header[7:].strip()
    for name in ("auth", "access_token"):
        if isinstance(params.get(name), str) and params[name]:
            return str(params[name])
    return ""


def find_method(portal: Portal, name: str) -> Method:
    if not exists(portal, name.lower()):
        raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    return METHODS[name.lower()]


def exists(portal: Portal, name: str) -> bool:
    """Whether there is such a method at this portal; an old box knows no tasks.task.*."""
    return name in METHODS and not (name.startswith("tasks.task.") and knobs.knob("no_new_tasks", portal.key))


def authenticate(request: PortalRequest, address: Address, params: Params, row: Request) -> Call:
    """Find out who calls. Raises the 401s and 403s in the portal's order."""
    portal = request.portal
    if "token" in params and knobs.trap("token_parameter_is_a_link", portal.key):
        raise RestError(401, "invalid_token", "Invalid signed link")
    if address.secret:
        return by_webhook(portal, address, row)
    key = read_key(request, params)
    if not key:
        raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    known = Token.objects.select_related("installation__portal", "installation__app", "user__portal")
    token = known.filter(access=key, installation__portal=portal).first()
    if token is None:
        raise RestError(401, "invalid_token", "Unable to get application by token")
    row.token, row.user = token, token.user
    check_token(token, METHODS.get(address.method.lower()))
    tokens.believe(token)
    return Call(
        portal=portal,
        user=token.user,
        installation=token.installation,
        token=token,
        scope=scope_of(token),
        request=row,
    )


def scope_of(token: Token) -> set[str]:
    return set(token.installation.scope.split(","))


def check_token(token: Token, method: Method | None) -> None:
    """Raise what keeps this token from the method (None: one that does not exist), in the portal's order."""
    installation, key = token.installation, token.installation.portal.key
    if not installation.portal.rest_allowed:
        text = "REST is available only on commercial plans."
        raise RestError(knobs.knob("status.plan", key), "ACCESS_DENIED", text)
    if not installation.active:
        if tokens.is_believed(token) or not knobs.trap("token_checks_are_cached", key):
            raise RestError(401, "APPLICATION_NOT_FOUND", "Application not found")
        raise RestError(401, "ERROR_OAUTH", "Application not installed")
    if tokens.is_dead(token):
        raise RestError(401, "invalid_token", "Unable to get application by token")
    if installation.payment_expired:
        raise RestError(401, "PAYMENT_REQUIRED", "Subscription has been ended")
    if token.expires <= clock.seconds():
        raise RestError(401, "expired_token", "The access token provided has expired.")
    if method:
        check_scope(method, scope_of(token))
    if not token.user.active:
        raise RestError(401, "authorization_error", "Unable to authorize user")
    if not token.user.may_use_app:
        text = "The user does not have access to the application."
        raise RestError(knobs.knob("status.user_access_error", key), "user_access_error", text)


def check_scope(method: Method, scope: set[str], *, quiet: bool = False) -> None:
    if not method.permitted(scope):
        text = "The request requires higher privileges than provided by the access token"
        raise RestError(401, "insufficient_scope", "" if quiet else text)


def by_webhook(portal: Portal, address: Address, row: Request) -> Call:
    hooks = Webhook.objects.select_related("user__portal")
    hook = hooks.filter(user__portal=portal, user__number=address.uid, secret=address.secret).first()
    if hook is None:
        raise RestError(401, "INVALID_CREDENTIALS", "Invalid request credentials")
    row.user = hook.user
    scope = set(hook.scope.split(","))
    return Call(portal=portal, user=hook.user, installation=None, token=None, scope=scope, request=row)


def without_credentials(params: Params) -> Params:
    return {name: value for name, value in params.items() if name not in CREDENTIALS}


def run_command(call: Call, method: Method, params: Params, *, outer: bool) -> dict[str, Any]:
    """Run one method, the whole request's or one of a batch's; return its envelope. Raises RestError or TimeUp."""
    key = call.portal.key
    check_scope(method, call.scope, quiet=not outer and knobs.trap("empty_scope_text", key))
    counted = method.name != "batch"
    if counted:
        limits.check_operating(call.portal, call.app_id, method.name)
    if not outer:
        faults.strike_before(call.portal, method.name, inside=True)
    started = clock.seconds()
    cost = knobs.cost(method.name, key)
    sleep(cost * float(knobs.knob("cost.sleep")), call)
    call.method, call.start = method.name, php.integer(params.get("start", 0))
    arguments = {name: value for name, value in params.items() if name not in ("start", "state")}
    result = method.run(call, arguments)
    if time.monotonic() > call.ends_at:
        raise TimeUp
    if not outer:
        faults.strike_after_command(call.portal, method.name)
    time_ = timing(call.portal, started, cost)
    if counted and limits.are_counted(call.portal):
        spent, reset_at = limits.spend_operating(call.portal, call.app_id, method.name, time_["processing"])
        time_ |= {"operating_reset_at": reset_at, "operating": spent}
    return envelope(result, key) | {"time": time_}


def sleep(seconds: float, call: Call) -> None:
    """Take the time that a command costs, until the request is cut at most. What has begun is done even then."""
    left = call.ends_at - time.monotonic()
    if left <= 0:
        raise TimeUp
    time.sleep(min(seconds, left))


def envelope(result: Any, portal_key: str) -> dict[str, Any]:
    if not isinstance(result, Page):
        return {"result": result}
    paging = {name: value for name in ("next", "total") if (value := getattr(result, name)) is not None}
    if knobs.trap("pages_beside_result", portal_key):
        return {"result": result.rows, **paging}
    return {"result": {**result.rows, **paging}}


def timing(portal: Portal, started: float, cost: float) -> dict[str, Any]:
    """The `time` of an answer that is ready now; `cost` seconds are claimed even if they were not slept."""
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
    """The error code of an answer, for the log."""
    if response is None or not response.headers["Content-Type"].startswith("application/json"):
        return ""
    if not response.content.startswith(b'{"error"'):
        return ""
    try:
        return str(json.loads(response.content)["error"])
    except ValueError:  # cut short by a fault
        return ""
