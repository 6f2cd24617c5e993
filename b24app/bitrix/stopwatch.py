"""A clock that only moves forward, at the same speed as the world, also while the machine sleeps."""

import time

# Linux stops CLOCK_MONOTONIC while the machine is suspended; CLOCK_BOOTTIME runs on. On macOS CLOCK_MONOTONIC runs on.
# Windows has neither, and its time.monotonic() runs on. Source: clock_getres(2), PEP 418.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def now() -> float:
    """Seconds since an unknown moment, the same one for the whole process. Compare only two of these."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
