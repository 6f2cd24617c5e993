"""Throttle for failed openings.

Each one costs a request to the portal that it names and one to the authorization server.
"""

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
    """Too many openings from this address have failed within MEMORY. No server was asked about this one."""


@contextmanager
def throttled(member_id: str, address: str) -> Iterator[Portal | None]:
    """Run the proof of one opening inside this block. Records it if the proof fails.

    Yields the portal, if the app is installed there. Finding it and checking for failures is one query.
    Failures count per client `address`, so a stranger cannot lock out the people of a portal. Raises Throttled.
    """
    network = network_of(address)
    recent = FailedOpening.objects.filter(network=network, at__gt=clock.now() - MEMORY)
    portal = installed(member_id).annotate(has_failures=Exists(recent)).first()
    if portal is None or portal.has_failures:
        failed = list(recent.values_list("member_id", flat=True)[:FAILURES_IN_ALL])
        if len(failed) >= FAILURES_IN_ALL or failed.count(member_id) >= FAILURES_PER_PORTAL:
            raise Throttled(member_id)
    try:
        yield portal
    except NotProven:
        FailedOpening.objects.create(member_id=member_id, network=network, at=clock.now())
        raise


def network_of(address: str) -> str:
    """What to count failures by: the address itself, or for IPv6 its /64, because one household owns all of that."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def delete_expired() -> None:
    """Delete failures older than MEMORY."""
    FailedOpening.objects.filter(at__lt=clock.now() - MEMORY).delete()
