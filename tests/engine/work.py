"""Helpers of the engine's tests: run a job to its end, read its outcomes."""

import time

from b24app.engine import slices


def work(person, slices_at_most=40):
    """Run slices until no work is left. Waits as long as the engine says between them, 2 seconds at most."""
    for _ in range(slices_at_most):
        seconds = slices.run(person.portal_id)
        if seconds is None:
            return
        time.sleep(min(seconds, 2.0))
    raise AssertionError(f"work is left after {slices_at_most} slices")


def outcomes(job):
    """The state and the code of each item, by task id."""
    return {item.task_id: (item.state, item.code) for item in job.items.all()}
