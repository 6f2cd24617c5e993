"""Computes the shortest time that the portal allows, and the time of one call at a time."""

import math
from dataclasses import dataclass

TASKS_PER_BATCH = 25  # two commands each
TASKS_PER_READING = 50
BUCKET, DRAIN = 50, 2.0  # requests, requests per second
OPERATING, WINDOW, BASKETS = 480.0, 600.0, 10  # operating seconds of one method per window of seconds


@dataclass(frozen=True)
class Measured:
    """The speed of a portal, measured just before the contest, in wall-clock seconds."""

    command: float  # one pause or defer in a batch, including the portal's own work
    overhead: float  # of a request without its commands: network and envelope
    reading: float  # one status reading of 50 tasks


def shortest(tasks, portal, scale=1.0, cost=0.0):
    """T_opt: seconds for `tasks` in progress, one batch after the other; `cost` is the operating time of a command."""
    batches = math.ceil(tasks / TASKS_PER_BATCH)
    work = batches * portal.overhead + 2 * tasks * portal.command
    reading = math.ceil(tasks / TASKS_PER_READING) * portal.reading
    return work + reading + forced_waits(tasks, portal, scale, cost)


def forced_waits(tasks, portal, scale, cost):
    """Seconds that a client must wait because one method has used up its operating time.

    Simulates the batches as the portal counts them: each method separately, in intervals of a tenth of the window.
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

    Simulates the calls as the portal counts them: a rejected call fills the bucket.
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
