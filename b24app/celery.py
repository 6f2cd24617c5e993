"""The Celery application. Its configuration is every CELERY_* setting."""

import os
import sys
from typing import Any

from celery import Celery, signals
from django.core.exceptions import ImproperlyConfigured
from kombu.transport import TRANSPORT_ALIASES

from b24app import checks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "b24app.settings")
TRANSPORT_ALIASES["filesystem"] = "b24app.worker.broker:Transport"

app = Celery("b24app")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["b24app.worker"], related_name="messages")
app.autodiscover_tasks(["b24app.worker"], related_name="heartbeat")
app.autodiscover_tasks(["b24app.worker"], related_name="old_names")


@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse_unsafe_settings(**_: Any) -> None:
    """A worker and a beat do not start with unsafe settings. Celery would only log an exception here."""
    try:
        checks.refuse_unsafe_settings()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
