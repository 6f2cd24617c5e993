"""What every outgoing request passes: the address check, the portal's rate limit, and the journal."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.conf import settings
from django.db import DatabaseError
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest
from django.db.models.lookups import LessThanOrEqual

from b24app import clock, failpoints
from b24app.bitrix import http, oauth
from b24app.bitrix.errors import BitrixError, TooManyRequests
from b24app.bitrix.limits import Bucket
from b24app.bitrix.records import Exchange
from b24app.clock import UnixNow
from b24app.models import Portal, RestCall
from b24app.portals.lease import Lease, LeaseLost

logger = logging.getLogger(__name__)

FULL_SHARE, BACKGROUND_SHARE = 1.0, 2 / 3  # of the request bucket


def egress() -> http.Egress:
    return http.Egress.parse(settings.B24_PORTAL_NETWORKS, settings.B24_ALLOW_LOCAL_PORTALS)


def registration() -> oauth.Registration:
    return oauth.Registration(settings.B24_CLIENT_ID, settings.B24_CLIENT_SECRET)


def journal(portal: Portal | None, job_id: int | None = None) -> Callable[[Exchange], None]:
    """A hook that writes each exchange to the journal. If that fails, it logs the failure, and the work continues."""

    def write(exchange: Exchange) -> None:
        try:
            RestCall.objects.create(
                portal=portal,
                job_id=job_id,
                at=clock.now(),
                method=exchange.method,
                params=exchange.params,
                outcome=exchange.outcome,
                status=exchange.status,
                code=exchange.code[:100],
                milliseconds=exchange.milliseconds,
                request_id=exchange.request_id,
            )
        except DatabaseError:
            logger.exception("journal not written: %s (request %s)", exchange.method, exchange.request_id)
        if portal and exchange.code.upper() == "QUERY_LIMIT_EXCEEDED":
            fill_bucket(portal)

    return write


@contextmanager
def journaled(method: str, portal: Portal | None) -> Iterator[http.Trace]:
    """Write an exchange with an authorization server to the journal, without its parameters and its answer."""
    started, code, trace = time.monotonic(), "", http.Trace()
    try:
        yield trace
    except BitrixError as error:
        code, error.request_id = error.code, trace.request_id
        raise
    finally:
        milliseconds = int((time.monotonic() - started) * 1000)
        journal(portal)(Exchange(method, {}, trace.status, code, milliseconds, {}, trace.request_id))


def reserve_request(portal: Portal, share: float, lease: Lease | None = None) -> None:
    """Take one place in the portal's request bucket, and renew the `lease` under which the request is made.

    A request without a lease comes from a page, so the portal is marked as in use.
    Checks and increments in one UPDATE, so two workers cannot take the same slot. Uses the database clock: with
    local clocks, two machines that disagree would both count the same drained seconds.
    Raises TooManyRequests with the seconds to wait, or LeaseLost.
    """
    bucket = Bucket(0, portal.is_enterprise, settings.ENGINE_PORTAL_PACE)
    now = _bucket_clock()
    level = Greatest(F("bucket_level") - Greatest(now - F("bucket_at"), 0.0) * bucket.drain, 0.0)
    fits = Q(LessThanOrEqual(level, bucket.capacity * share - 1))
    used = {} if lease else {"used_at": clock.now().timestamp()}
    taken = {"bucket_level": level + 1, "bucket_at": now, **used}
    if lease.try_renew(fits, **taken) if lease else Portal.objects.filter(fits, pk=portal.pk).update(**taken):
        if lease:
            failpoints.reach("reserved")
        return
    rows = lease.held() if lease else Portal.objects.filter(pk=portal.pk)
    left = rows.annotate(level=level).values_list("level", flat=True).first()
    if left is None:
        raise LeaseLost(f"portal {portal.pk}")
    raise TooManyRequests("own_limit", delay=replace(bucket, level=left).wait(share))


def fill_bucket(portal: Portal) -> None:
    """The portal has answered that its request bucket is full: set our count to full as well."""
    capacity = Bucket(0, portal.is_enterprise).capacity
    Portal.objects.filter(pk=portal.pk).update(bucket_level=capacity, bucket_at=_bucket_clock())


def _bucket_clock() -> Combinable:
    """The database clock in unix seconds, plus the demo offset, for use in a query."""
    return UnixNow() + clock.offset().total_seconds()
