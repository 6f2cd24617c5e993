"""The authorization server over HTTP: /oauth/token/ and /rest/app.info."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..portal import truth
from ..portal.errors import RestError
from ..portal.models import Request
from ..weather import faults
from ..wire import answers
from ..wire.call import Params
from ..wire.logged import answer_logged
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

    def respond_in_this_weather() -> HttpResponse:
        response = faults.strike_before(None, name)
        if response is None:
            params["auth"] = read_key(request, params)
            response = faults.strike_after(None, name, respond(params, row, answer))
        return response

    return answer_logged(request, row, respond_in_this_weather, refuse)


def refuse(error: RestError) -> HttpResponse:
    """The answer to an error that a fault has raised."""
    return answers.refusal(OAuthError(error.status, error.code, error.description))


def respond(params: Params, row: Request, answer: Answer) -> HttpResponse:
    try:
        return answers.json_response(200, answer(params, row))
    except RestError as error:
        return answers.refusal(error)
