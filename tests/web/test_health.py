"""The health checks of the web process."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from b24app.models import WorkerHeartbeat

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_healthy_and_ready(path):
    WorkerHeartbeat.objects.create(at=timezone.now())
    assert Client().get(path).text == "ok"


@pytest.mark.parametrize("sweeps", [[], [timedelta(seconds=121)]])
def test_not_ready_without_a_living_worker(sweeps):
    for ago in sweeps:
        WorkerHeartbeat.objects.create(at=timezone.now() - ago)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.text) == (503, "no worker has read a message lately")


def test_not_ready_without_its_migrations(monkeypatch):
    WorkerHeartbeat.objects.create(at=timezone.now())
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *args: ["one"])
    assert Client().get("/readyz").status_code == 503
