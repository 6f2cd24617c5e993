"""How many queries our work may make. Statements that only begin or end a transaction do not count."""

import json
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from b24app import clock
from b24app.engine import jobs, selections, slices
from b24app.models import Job, Portal
from b24app.portals import outgoing
from b24app.portals.lease import Lease
from tests.conftest import SERVERS
from tests.web.conftest import Visitor

PATIENCE = 3  # other tests run at the same time; `make bench` measures on an idle machine
TRANSACTION_WORDS = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")


@pytest.fixture
def at_most():
    """`with at_most(12):` fails if the block makes more queries, and prints them."""

    @contextmanager
    def at_most(count):
        with CaptureQueriesContext(connection) as captured:
            yield
        asked = [query["sql"] for query in captured if not query["sql"].startswith(TRANSACTION_WORDS)]
        assert len(asked) <= count, "\n".join(sql[:200] for sql in asked)

    return at_most


@pytest.fixture
def job(sandbox, person):
    ids = sandbox.tasks("acme", count=120, creator=person.user_id, status=3)
    return jobs.start(person, selections.select_ticked(person, ids), "", "k1")


def test_a_step_makes_at_most_12_queries(job, at_most, monkeypatch):
    do_next = slices._do_next
    steps = []

    def counted(lease):
        with at_most(12):
            steps.append(do_next(lease))
        return steps[-1]

    Portal.objects.update(defers_directly=False)  # otherwise the first step makes one more request, to find this out
    monkeypatch.setattr(slices, "_do_next", counted)
    slices.run(job.portal_id)
    assert len(steps) >= 4


def test_a_full_bucket_costs_at_most_12_queries(job, at_most):
    Portal.objects.update(defers_directly=False)
    lease = Lease.acquire(job.portal_id)
    slices._do_next(lease)
    outgoing.fill_bucket(job.person.portal)
    with at_most(12):
        slices._do_next(lease)
    job.refresh_from_db()
    assert (job.state, job.wait_code) == (Job.State.WAITING, "own_limit")


@pytest.mark.parametrize("is_admin", [False, True])
def test_an_opening_makes_at_most_6_queries(at_sandbox, db, at_most, is_admin):
    visitor = Visitor(at_sandbox, "acme", at_sandbox.user("acme", name="Bob", is_admin=is_admin))
    at_sandbox.install("acme")
    visitor.open()
    Portal.objects.update(bindings_checked_at=clock.now())
    opening = visitor.opening()
    with at_most(6):
        page = visitor.post_opening("/placement/", opening)
    assert page.status_code == 200


def test_progress_takes_at_most_2_queries(at_sandbox, db, at_most):
    visitor = Visitor(at_sandbox, "acme", at_sandbox.user("acme", name="Bob"))
    at_sandbox.install("acme")
    visitor.open()
    ids = at_sandbox.tasks("acme", count=3, creator=visitor.user, status=3)
    visitor.start(ids)
    job = Job.objects.get()
    with at_most(2):
        progress = visitor.get(f"/jobs/{job.pk}/")
    assert progress.status_code == 200


@pytest.mark.parametrize(
    "stack", [pytest.param(SERVERS, marks=[pytest.mark.postgres, pytest.mark.redis])], indirect=True
)
def test_a_full_house_stays_in_its_budget(app):
    """10,000 portals with their history: see tests/benchmarks/full_house.py."""
    spent = json.loads(
        app.python("from tests.benchmarks import full_house; full_house.show(items=10)").splitlines()[-1]
    )
    assert spent["scans"] == []
    assert {"unfinished_jobs", "portals_not_active"} <= set(spent["indexes"])
    assert spent["sweep_ms"] <= 2 * PATIENCE
    assert spent["job_queries"] <= 8
    assert spent["job_ms"] <= 300 * PATIENCE
