"""The arithmetic of a portal's two limits: the request bucket, and the operating time of each method.

A request adds one to a bucket that drains steadily; if the bucket is full, the portal answers QUERY_LIMIT_EXCEEDED.
Each method may execute for about 480 s in ten minutes; after that the portal answers OPERATION_TIME_LIMIT.
Source: manual, limits.md.
"""

from dataclasses import dataclass

BATCH_SIZE = 50  # commands in one `batch` call, at most
FIRST_BATCH_COMMANDS = 6  # until the first measurement
OPERATING_SECONDS = 480.0
OPERATING_SHARE = 0.9  # of OPERATING_SECONDS that jobs may use
OPERATING_SHARE_IN_USE = 0.7  # the same while a person uses the app: pages have precedence


@dataclass(frozen=True)
class Bucket:
    """A portal's request bucket with `level` requests in it."""

    level: float
    enterprise: bool = False
    pace: float = 1.0  # how many times faster than a real portal it drains; only the sandbox does

    @property
    def drain(self) -> float:
        """Requests that leave the bucket per second."""
        return (5.0 if self.enterprise else 2.0) * self.pace

    @property
    def capacity(self) -> float:
        """Requests that we put into it: 225 of 250, or 45 of 50. The rest is for other apps at our address."""
        return 225.0 if self.enterprise else 45.0

    def wait(self, share: float = 1.0) -> float:
        """Seconds until one more request fits into `share` of the bucket; 0 if one fits now."""
        return max(0.0, (self.level + 1 - self.capacity * share) / self.drain)


def commands_that_fit(seconds_per_command: float | None, seconds: float) -> int:
    """How many commands a batch may contain that should take `seconds`."""
    if seconds_per_command is None:
        return FIRST_BATCH_COMMANDS
    return max(2, min(BATCH_SIZE, int(seconds / max(seconds_per_command, 0.001))))


def operating_left(used: float, reset_at: float, now: float, in_use: bool) -> float:
    """Seconds of a method's operating time that jobs may still use at `now`."""
    share = OPERATING_SHARE_IN_USE if in_use else OPERATING_SHARE
    return OPERATING_SECONDS * share - (used if reset_at > now else 0.0)


def smoothed(old: float | None, measured: float) -> float:
    """The new estimate of the time per command, in seconds."""
    return measured if old is None else 0.7 * old + 0.3 * measured
