"""The sandbox's time, in one place."""

import time
from datetime import UTC, datetime


def seconds() -> float:
    return time.time()


def now() -> datetime:
    return datetime.fromtimestamp(seconds(), UTC)
