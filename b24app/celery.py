"""The Celery application. Its configuration is every CELERY_* setting."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "b24app.settings")
TRANSPORT_ALIASES["filesystem"] = "b24app.worker.broker:Transport"

app = Celery("b24app")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["b24app.worker"], related_name="messages")
app.autodiscover_tasks(["b24app.worker"], related_name="heartbeat")
app.autodiscover_tasks(["b24app.worker"], related_name="old_names")
