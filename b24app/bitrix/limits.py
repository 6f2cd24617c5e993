"""The arithmetic of a portal's two budgets: the bucket of requests, and operating time per method.

Source: manual, limits.md. A request adds one to a bucket that drains by itself; a full bucket answers
QUERY_LIMIT_EXCEEDED. Each method may execute for about 480 s in ten minutes; more answers OPERATION_TIME_LIMIT.
"""

from dataclasses import dataclass

BATCH_SIZE = 50  # commands in one `batch` call, at most
FIRST_BATCH_COMMANDS = 6  # while nothing was measured yet
OPERATING_SECONDS = 480.0
OPERATING_SHARE = 0.9  # of it, that we plan with
OPERATING_SHARE_IN_USE = 0.7  # ... while somebody uses the app: people come first


@dataclass(frozen=True)
class Bucket:
    """A portal's bucket with `level` requests in it."""

    level: float
    enterprise: bool = False

    @property
    def drain(self) -> float:
        """Requests per second, that leave it by themselves."""
        return 5.0 if self.enterprise else 2.0

    @property
    def capacity(self) -> float:
        """Of 250 or 50; the rest is left to others who call from our address."""
        return 225.0 if self.enterprise else 45.0

    def wait(self, share: float = 1.0) -> float:
        """Seconds until one more request fits into `share` of the bucket; 0 if it does now."""
        return max(0.0, (self.level + 1 - self.capacity * share) / self.drain)


def commands_that_fit(seconds_per_command: float | None, seconds: float) -> int:
    """How many commands a batch may hold that is to take so many seconds."""
    if seconds_per_command is None:
        return FIRST_BATCH_COMMANDS
    return max(2, min(BATCH_SIZE, int(seconds / max(seconds_per_command, 0.001))))


def operating_left(used: float, reset_at: float, now: float, in_use: bool) -> float:
    """Seconds of a method's operating time that background work may plan with at `now`."""
    share = OPERATING_SHARE_IN_USE if in_use else OPERATING_SHARE
    return OPERATING_SECONDS * share - (used if reset_at > now else 0.0)


def smoothed(old: float | None, measured: float) -> float:
    """The new estimate of the time per command, in seconds."""
    return measured if old is None else 0.7 * old + 0.3 * measured
