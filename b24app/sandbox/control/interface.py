"""The control interface: POST /control/‹verb› with a JSON map, at any host. The answer is JSON.

It is for tests and demos only, and as open as the sandbox itself, which listens on loopback. Portals are named by
key; people, projects and tasks by their numbers at that portal. `tests/sandbox_client.py` wraps every verb.
"""

import json
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from ..weather.verbs import VERBS, Body, verb
from . import app, logs, portals, tasks, weather

assert all((app, logs, portals, tasks, weather))  # noqa: S101 -- importing them fills the table of verbs


@csrf_exempt
def control(request: HttpRequest, verb: str) -> JsonResponse:
    run = VERBS.get(verb)
    if run is None:
        return JsonResponse({"error": f"No such verb. There are: {', '.join(sorted(VERBS))}"}, status=404)
    try:
        return JsonResponse({"result": run(json.loads(request.body or b"{}"))})
    except (KeyError, ValueError, TypeError, ObjectDoesNotExist) as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=400)


@verb
def many(body: Body) -> list[Any]:
    """Run verbs in one transaction: {calls: [[verb, {…}], …]} -> their results, in order."""
    with transaction.atomic():
        return [VERBS[name](given) for name, given in body["calls"]]
