"""What would be possible: the shortest time that the portal allows, and what one call at a time must take."""

import math
from dataclasses import dataclass

TASKS_PER_BATCH = 25  # two commands each
TASKS_PER_READING = 50
BUCKET, DRAIN = 50, 2.0  # requests, requests per second
OPERATING, WINDOW, BASKETS = 480.0, 600.0, 10  # seconds of one method, in a window of so many seconds


@dataclass(frozen=True)
class Measured:
    """One portal as it was measured just before the contest, in seconds of the wall clock."""

    command: float  # one pause or defer inside a batch, the portal's own work included
    overhead: float  # of a request, beside its commands: network and envelope
    reading: float  # one status reading of 50 tasks


def shortest(tasks, portal, scale=1.0, cost=0.0):
    """T_opt: seconds for `tasks` in progress, one batch after the other; `cost` is what a command claims."""
    batches = math.ceil(tasks / TASKS_PER_BATCH)
    work = batches * portal.overhead + 2 * tasks * portal.command
    reading = math.ceil(tasks / TASKS_PER_READING) * portal.reading
    return work + reading + forced_waits(tasks, portal, scale, cost)


def forced_waits(tasks, portal, scale, cost):
    """Seconds in which nobody may send, because one method's operating time in the window is used up.

    Walks through the batches as the portal counts: in baskets of a tenth of the window, each method by itself.
    """
    basket = WINDOW / BASKETS / scale
    spent, now, waited = {}, 0.0, 0.0
    for _ in range(math.ceil(tasks / TASKS_PER_BATCH)):
        while sum(seconds for number, seconds in spent.items() if number > now // basket - BASKETS) > OPERATING:
            step = basket - now % basket
            now, waited = now + step, waited + step
        number = now // basket
        spent[number] = spent.get(number, 0.0) + TASKS_PER_BATCH * cost
        now += portal.overhead + 2 * TASKS_PER_BATCH * portal.command
    return waited


def one_by_one(tasks, portal, patience):
    """Seconds of two calls for each task, one after the other, `patience` seconds lost whenever the bucket is full.

    Walks through the calls as the portal counts them: a refused one fills the bucket to the brim.
    """
    call = portal.command + portal.overhead
    level, now, counted_at, answered = 0.0, 0.0, 0.0, 0
    while answered < 2 * tasks:
        level = max(0.0, level - (now - counted_at) * DRAIN) + 1
        counted_at = now
        if level > BUCKET:
            level = min(level, BUCKET + 1)
            now += portal.overhead + patience
        else:
            answered += 1
            now += call
    return now
