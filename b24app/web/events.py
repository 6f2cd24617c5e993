"""Events that a portal reports."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from b24app.bitrix.payloads import BadPayload, read_event
from b24app.portals import uninstall
from b24app.web import opening
from b24app.worker import messages

UNINSTALL = "ONAPPUNINSTALL"


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """What a portal reports. The answer is always the same: it must not tell who is a customer of ours."""
    try:
        event = read_event(opening.flat(request.POST))
    except BadPayload as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    if event.name == UNINSTALL:
        portal = uninstall.report(event)
        if portal:
            transaction.on_commit(lambda: messages.send(messages.confirm_uninstall, portal.pk))
    return HttpResponse("ok", content_type="text/plain")
