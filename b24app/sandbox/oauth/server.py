"""The authorization server over HTTP: /oauth/token/ and /rest/app.info."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..portal import truth
from ..portal.errors import ConnectionCut, RestError
from ..portal.models import Request
from ..weather import faults
from ..wire import answers
from ..wire.call import Params
from ..wire.parameters import read_key, read_parameters
from .appinfo import describe
from .grants import OAuthError, exchange

Answer = Callable[[Params, Request], dict[str, Any]]


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """/oauth/token/ by GET or POST form."""
    return serve(request, "oauth/token", exchange)


@csrf_exempt
def app_info(request: HttpRequest) -> HttpResponse:
    """/rest/app.info: what the authorization server knows about an access token."""
    return serve(request, "oauth/app.info", describe)


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    return answers.refusal(RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"))


def serve(request: HttpRequest, name: str, answer: Answer) -> HttpResponse:
    """Log one request to the authorization server, and answer it unless a fault does."""
    params, _ = read_parameters(request)
    row = truth.note_request(None, name, params)
    response: HttpResponse | None = None
    try:
        response = faults.strike_before(None, name)
        if response is None:
            params["auth"] = read_key(request, params)
            response = faults.strike_after(None, name, respond(params, row, answer))
    except RestError as error:  # from a fault
        response = answers.refusal(OAuthError(error.status, error.code, error.description))
    except ConnectionCut:
        response = None
        faults.cut(request)
    finally:
        truth.note_answer(row, response.status_code if response is not None else None, answers.code_in(response))
    return response or HttpResponse()


def respond(params: Params, row: Request, answer: Answer) -> HttpResponse:
    try:
        return answers.json_response(200, answer(params, row))
    except RestError as error:
        return answers.refusal(error)
