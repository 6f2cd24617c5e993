"""The gate of a portal: how many threads of this process may wait for it at once, and when pages stop waiting.

A dead or hostile portal must not occupy the threads that serve the others. The counts and the breaker are of this
process: they protect its own threads, they cost no query, and they end with the process. A breaker in the database
would be written most when all processes are busiest.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from b24app.bitrix.errors import NotRun
from b24app.bitrix.records import Exchange

PAGES, SLICES = 2, 1  # threads that may be inside one portal
MOST_QUEUED = 6  # further pages that wait for a place, if the portal has answered in time so far
QUEUE_SECONDS = 1.0  # for which they wait
TIMEOUTS = 3  # in a row; after them pages get an answer at once
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 120.0  # seconds until the next page tries; a pause doubles while that fails
SLOW_MILLISECONDS = 1000  # a failed connection that took as long counts like a time-out
MOST_PORTALS = 10_000  # that are remembered

_lock = threading.RLock()


@dataclass
class _Gate:
    """The threads inside one portal, and the time-outs in a row of calls with the same time limit."""

    inside: int = 0
    queued: int = 0
    timeouts: int = 0
    tries_at: float = 0.0  # monotonic time of the next attempt, while the breaker is open
    place_is_free: threading.Condition = field(default_factory=lambda: threading.Condition(_lock))


_gates: dict[tuple[str, float, bool], _Gate] = {}


@dataclass(frozen=True)
class Pass:
    """The way of one kind of calls through the gate of `endpoint`: pages or slices, with one time limit.

    Openings and other pages have different time limits, and so breakers of their own: a portal that needs four
    seconds is too slow for an opening, and answers the page that asks again.
    """

    endpoint: str
    timeout: float  # seconds
    is_slice: bool

    def enter(self) -> None:
        """Take a place. Raises NotRun if there is none, or if the portal has not answered in time lately."""
        with _lock:
            gate, places = self._gate(), self._gate(is_shared=True)
            if not self.is_slice:
                self._ask_breaker(gate)
                self._queue(places, may_wait=gate.timeouts == 0)
            if places.inside >= (SLICES if self.is_slice else PAGES):
                raise NotRun("portal_is_slow", delay=30.0 if self.is_slice else 2.0)
            places.inside += 1

    def leave(self) -> None:
        """Give the place back."""
        with _lock:
            places = self._gate(is_shared=True)
            places.inside = max(0, places.inside - 1)
            places.place_is_free.notify()

    def note(self, exchange: Exchange) -> None:
        """Count the time-out, or forget those before."""
        is_slow = exchange.status is None and exchange.milliseconds >= min(SLOW_MILLISECONDS, self.timeout * 500)
        with _lock:
            gate = self._gate()
            if exchange.code != "timeout" and not is_slow:
                gate.timeouts = 0
                return
            gate.timeouts += 1
            if gate.timeouts >= TIMEOUTS:
                gate.tries_at = time.monotonic() + _pause(gate.timeouts)

    def _gate(self, *, is_shared: bool = False) -> _Gate:
        """The state of this kind of calls, or that of all pages or all slices of the portal."""
        if len(_gates) > MOST_PORTALS:
            _forget_idle()
        return _gates.setdefault((self.endpoint, 0.0 if is_shared else self.timeout, self.is_slice), _Gate())

    def _ask_breaker(self, gate: _Gate) -> None:
        if gate.timeouts < TIMEOUTS:
            return
        left = gate.tries_at - time.monotonic()
        if left > 0:
            raise NotRun("portal_is_slow", delay=left)
        gate.tries_at = time.monotonic() + _pause(gate.timeouts)  # this page tries; the others wait for its result

    def _queue(self, places: _Gate, may_wait: bool) -> None:
        """Wait for a place, if not too many wait already."""
        if places.inside < PAGES or not may_wait or places.queued >= MOST_QUEUED:
            return
        places.queued += 1
        try:
            places.place_is_free.wait_for(lambda: places.inside < PAGES, QUEUE_SECONDS)
        finally:
            places.queued -= 1


def _pause(timeouts: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(timeouts - TIMEOUTS, 10))


def _forget_idle() -> None:
    for key in [key for key, gate in _gates.items() if not gate.inside and not gate.queued]:
        del _gates[key]


def reset() -> None:
    """Forget everything. For tests."""
    with _lock:
        _gates.clear()


def hooks(
    way: Pass, before: Callable[[], None], after: Callable[[Exchange], None]
) -> tuple[Callable[[], None], Callable[[Exchange], None]]:
    """The hooks of a client, inside the gate: a place is taken before `before`, and given back after `after`."""

    def enter() -> None:
        way.enter()
        try:
            before()
        except BaseException:
            way.leave()
            raise

    def leave(exchange: Exchange) -> None:
        try:
            way.note(exchange)
            after(exchange)
        finally:
            way.leave()

    return enter, leave
