"""Openings that nobody confirmed, counted: each costs the portal that it names a request, and us one to its server."""

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Exists

from b24app import dates
from b24app.models import FailedProof, Portal
from b24app.portals import NotProven, installed

logger = logging.getLogger(__name__)

MEMORY = timedelta(minutes=1)
FAILURES_PER_PORTAL = 5  # from one address, within MEMORY
FAILURES_IN_ALL = 30


class TooManyAttempts(Exception):
    """Nothing more from this address is looked at for a minute. Nobody was asked."""


@contextmanager
def counted(member_id: str, address: str) -> Iterator[Portal | None]:
    """Let an opening of this portal be proven, and remember when that fails. `address` is the client's.

    Yields the portal, if the app is installed there: both are asked for in one query. The address counts, so that
    nobody can shut a portal's own people out. Raises TooManyAttempts.
    """
    network = network_of(address)
    portal, has_failed_often = _look_up(member_id, network)
    if has_failed_often:
        raise TooManyAttempts(member_id)
    try:
        yield portal
    except NotProven:
        FailedProof.objects.create(member_id=member_id, network=network, at=dates.now())
        raise


def _look_up(member_id: str, network: str) -> tuple[Portal | None, bool]:
    """The portal, if the app is installed there, and whether too many openings from this network have failed."""
    recent = FailedProof.objects.filter(network=network, at__gt=dates.now() - MEMORY)
    last_of_all = recent[FAILURES_IN_ALL - 1 :]
    last_of_portal = recent.filter(member_id=member_id)[FAILURES_PER_PORTAL - 1 :]
    portal = installed(member_id).annotate(has_failed=Exists(last_of_all) | Exists(last_of_portal)).first()
    if portal:
        return portal, portal.has_failed
    return None, last_of_all.exists() or last_of_portal.exists()


def network_of(address: str) -> str:
    """Who stands behind an address: itself, or for IPv6 the /64 that one household has to choose from."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def forget() -> None:
    """Delete what no longer counts."""
    FailedProof.objects.filter(at__lt=dates.now() - MEMORY).delete()
