"""The two limits of a portal: requests (a leaky bucket) and operating time per method.

The knob `cost.‹method›` sets the cost of one run of a method.
"""

import threading
from collections import defaultdict

from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import Portal

SIZE, DRAIN = 50, 2  # requests, requests per second
ENTERPRISE_SIZE, ENTERPRISE_DRAIN = 250, 5
BASKETS = 10  # per window: of one minute each in the usual window of ten
SHORTEST_COUNTED = 0.1  # seconds; shorter calls do not count as operating time

Baskets = dict[int, float]  # number of the basket since 1970 -> seconds spent in it

lock = threading.Lock()
buckets: dict[tuple[str, str], tuple[float, float]] = {}  # (portal, source address) -> level, when
operating: dict[tuple[str, int, str], Baskets] = defaultdict(dict)  # (portal, app, method) -> its baskets


def forget() -> None:
    """Empty all buckets and baskets."""
    with lock:
        buckets.clear()
        operating.clear()


def bucket_of(portal: Portal) -> tuple[float, float]:
    """The size of the portal's buckets, and how many requests drain per second."""
    enterprise = portal.license_family == "ent"
    size = knobs.knob("limits.bucket_size", portal.key) or (ENTERPRISE_SIZE if enterprise else SIZE)
    drain = knobs.knob("limits.bucket_drain", portal.key) or (ENTERPRISE_DRAIN if enterprise else DRAIN)
    return size, drain


def bucket_levels(portal: Portal) -> dict[str, float]:
    """The current level of the portal's buckets, by source address."""
    _, drain = bucket_of(portal)
    now = clock.seconds()
    with lock:
        own = [(address, level, at) for (key, address), (level, at) in buckets.items() if key == portal.key]
    return {address: max(0.0, level - max(0.0, now - at) * drain) for address, level, at in own}


def operating_methods(portal: Portal) -> list[tuple[int, str]]:
    """(row id of the app, method) for every method that has used operating time at the portal."""
    with lock:
        return sorted((app, method) for key, app, method in operating if key == portal.key)


def count_request(portal: Portal, address: str) -> None:
    """Put one request into the bucket of a source address. Raises QUERY_LIMIT_EXCEEDED if it overflows."""
    if not knobs.knob("limits.bucket", portal.key):
        return
    size, drain = bucket_of(portal)
    now = clock.seconds()
    with lock:
        level, at = buckets.get((portal.key, address), (0.0, now))
        level = max(0.0, level - max(0.0, now - at) * drain) + 1
        buckets[portal.key, address] = (min(level, size + 1), now)
    if level > size:
        raise RestError(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")


def are_counted(portal: Portal) -> bool:
    """Whether the portal counts operating time. The cloud does; a box does not."""
    return knobs.knob("limits.operating", portal.key) is not False


def check_operating(portal: Portal, app_id: int, method: str) -> None:
    """Raise OPERATION_TIME_LIMIT if the method's time is used up. The call that crosses the limit still completes."""
    limit = knobs.knob("limits.operating", portal.key)
    if are_counted(portal) and operating_spent(portal, app_id, method)[0] > limit:
        raise RestError(429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.")


def spend_operating(portal: Portal, app_id: int, method: str, seconds: float) -> tuple[float, int]:
    """Add one run. Return the seconds spent in the window, and the unix second at which its oldest part expires."""
    if seconds >= SHORTEST_COUNTED:
        number = int(clock.seconds() // basket_seconds(portal))
        with lock:
            baskets = operating[portal.key, app_id, method]
            baskets[number] = baskets.get(number, 0.0) + seconds
    return operating_spent(portal, app_id, method)


def operating_spent(portal: Portal, app_id: int, method: str) -> tuple[float, int]:
    length = basket_seconds(portal)
    newest = int(clock.seconds() // length)
    with lock:
        baskets = operating[portal.key, app_id, method]
        for number in [number for number in baskets if not newest - BASKETS < number <= newest]:
            del baskets[number]
        oldest = min(baskets, default=newest)
        return sum(baskets.values()), int((oldest + BASKETS) * length)


def basket_seconds(portal: Portal) -> float:
    return float(knobs.knob("limits.operating_window", portal.key)) / BASKETS
