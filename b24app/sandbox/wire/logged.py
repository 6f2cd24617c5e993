"""How a request is answered: its answer, or the fault that came instead, goes into the log of requests."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from ..portal import truth
from ..portal.errors import ConnectionCut, RestError
from ..portal.models import Request
from ..weather import faults
from . import answers


def answer_logged(
    request: HttpRequest,
    row: Request,
    respond: Callable[[], HttpResponse],
    refuse: Callable[[RestError], HttpResponse] = answers.refusal,
) -> HttpResponse:
    """The answer of `respond`, or that of `refuse` to its RestError. A ConnectionCut resets the connection."""
    response: HttpResponse | None = None
    try:
        response = respond()
    except RestError as error:
        response = refuse(error)
    except ConnectionCut:
        faults.cut(request)
    finally:
        truth.note_answer(row, response.status_code if response is not None else None, answers.code_in(response))
    return response or HttpResponse()
