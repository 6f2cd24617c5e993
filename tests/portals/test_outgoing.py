"""What every outgoing request passes: the rate limit of its portal, and the journal."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from b24app import clock
from b24app.bitrix.errors import NotRun
from b24app.models import Credential, Portal, RestCall
from b24app.portals import clients, credentials, outgoing


def reserve(person, times, share):
    for _ in range(times):
        outgoing.reserve_request(person.portal, share)


def test_our_bucket_stops_us_first(sandbox, person):
    with pytest.raises(NotRun) as stopped:
        reserve(person, 60, outgoing.FULL_SHARE)
    assert 0 < stopped.value.delay < 1


def test_jobs_leave_room_for_pages(person):
    with pytest.raises(NotRun):
        reserve(person, 40, outgoing.BACKGROUND_SHARE)
    reserve(person, 1, outgoing.FULL_SHARE)


def reserve_elsewhere(person, times, ahead):
    """The same at a machine whose clock is ahead by so much."""
    with time_machine.travel(datetime.now(UTC) + ahead, tick=False):
        reserve(person, times, outgoing.FULL_SHARE)


def test_two_clocks_do_not_drain_twice(person):
    for _ in range(20):
        reserve(person, 1, outgoing.FULL_SHARE)
        reserve_elsewhere(person, 1, timedelta(minutes=5))
    with pytest.raises(NotRun, match="own_limit"):
        reserve(person, 10, outgoing.FULL_SHARE)


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=-2)])
def test_a_wrong_clock_spares_the_bucket(person, ahead):
    reserve(person, 30, outgoing.FULL_SHARE)
    reserve_elsewhere(person, 1, ahead)
    before = Portal.objects.get()
    assert before.bucket_level > 20
    Portal.objects.update(bucket_at=before.bucket_at - 5)
    reserve(person, 1, outgoing.FULL_SHARE)
    assert before.bucket_level - 11 < Portal.objects.get().bucket_level < before.bucket_level - 8


def test_the_portals_limit_fills_our_bucket(sandbox, person):
    sandbox.fault("profile", "error", code="QUERY_LIMIT_EXCEEDED", status=503)
    with pytest.raises(NotRun):
        clients.ask(person, lambda client: client.call("profile"))
    with pytest.raises(NotRun, match="own_limit"):
        reserve(person, 1, outgoing.FULL_SHARE)


def test_no_secret_is_in_the_journal(sandbox, person):
    Credential.objects.update(expires_at=clock.now())
    before = [person.credential.access_token, person.credential.refresh_token]
    _, pair = credentials.usable(person, 0)
    text = json.dumps(list(RestCall.objects.values_list("method", "params", "outcome", "code")))
    for secret in [*before, pair.access, pair.refresh, sandbox.client_secret]:
        assert secret not in text
