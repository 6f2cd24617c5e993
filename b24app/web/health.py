"""What monitors ask."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from b24app.worker import heartbeat


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """The database answers too, its tables are those that this code expects, and some worker does what is due."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return HttpResponse("migrations are missing", status=503, content_type="text/plain")
    if not heartbeat.is_any_worker_alive():
        return HttpResponse("no worker has read a message lately", status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")
