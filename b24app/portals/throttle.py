"""Openings that nobody confirmed, counted: each costs the portal that it names a request, and us one to its server."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Exists

from b24app import clock
from b24app.models import FailedOpening, Portal
from b24app.portals.openings import NotProven, installed

MEMORY = timedelta(minutes=1)
FAILURES_PER_PORTAL = 5  # from one address, within MEMORY
FAILURES_IN_ALL = 30


class Throttled(Exception):
    """Nothing more from this address is looked at for a minute. Nobody was asked."""


@contextmanager
def throttled(member_id: str, address: str) -> Iterator[Portal | None]:
    """Let an opening of this portal be proven, and remember when that fails. `address` is the client's.

    Yields the portal, if the app is installed there; one query finds it and that nothing has failed. The address
    counts, so that nobody can shut a portal's own people out. Raises Throttled.
    """
    network = network_of(address)
    recent = FailedOpening.objects.filter(network=network, at__gt=clock.now() - MEMORY)
    portal = installed(member_id).annotate(somebody_failed=Exists(recent)).first()
    if portal is None or portal.somebody_failed:
        failed = list(recent.values_list("member_id", flat=True)[:FAILURES_IN_ALL])
        if len(failed) >= FAILURES_IN_ALL or failed.count(member_id) >= FAILURES_PER_PORTAL:
            raise Throttled(member_id)
    try:
        yield portal
    except NotProven:
        FailedOpening.objects.create(member_id=member_id, network=network, at=clock.now())
        raise


def network_of(address: str) -> str:
    """Who stands behind an address: itself, or for IPv6 the /64 that one household has to choose from."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def delete_expired() -> None:
    """Delete what no longer counts."""
    FailedOpening.objects.filter(at__lt=clock.now() - MEMORY).delete()
