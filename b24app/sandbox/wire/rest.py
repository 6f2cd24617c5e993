"""The REST interface of a portal: /rest/‹method›.

The order of checks is that of a real portal: the front end's rate limit, portal deleted, method exists, token,
operating limit, method.
"""

import time

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..portal import knobs, truth
from ..portal.errors import RestError, TimeUp
from ..portal.models import Request
from ..weather import faults, limits
from . import answers, callers, commands, hosts, parameters
from .call import Params
from .hosts import PortalRequest
from .logged import answer_logged
from .parameters import Address


@csrf_exempt
def rest(request: PortalRequest, path: str) -> HttpResponse:
    """Answer one REST request to a portal, and log it."""
    address = parameters.read_address(path)
    params, bad_json = parameters.read_parameters(request)
    row = truth.note_request(request.portal, address.method.lower(), params)

    def respond_in_this_weather() -> HttpResponse:
        response = faults.strike_before(request.portal, row.method) or hosts.moved(request)
        if response is None:
            response = respond(request, address, params, row, bad_json=bad_json)
            response = faults.strike_after(request.portal, row.method, response)
        return response

    return answer_logged(request, row, respond_in_this_weather)


def respond(request: PortalRequest, address: Address, params: Params, row: Request, *, bad_json: bool) -> HttpResponse:
    """Check the request in the portal's order, run its method and answer."""
    portal = request.portal
    try:
        limits.count_request(portal, request.META["REMOTE_ADDR"])
        if portal.deleted:
            raise RestError(403, "PORTAL_DELETED", "Portal was deleted")
        if bad_json and not knobs.trap("bad_json_is_nothing", portal.key):
            raise RestError(400, "INVALID_REQUEST", "The body is not JSON")
        if not knobs.trap("method_before_token", portal.key):
            callers.authenticate(request, address, params, row)
        method = commands.find_method(portal, address.method)
        call = callers.authenticate(request, address, params, row)
        call.ends_at = time.monotonic() + float(knobs.knob("limits.request_seconds", portal.key))
        body = commands.run_command(call, method, parameters.without_credentials(params), outer=True)
    except RestError as error:
        return answers.refusal(error)
    except TimeUp:
        return HttpResponse("<html><body><h1>504</h1></body></html>", status=504, content_type="text/html")
    return answers.json_response(200, body)
