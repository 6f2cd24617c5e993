"""What the engine's tests do with a job."""

import time

from b24app.engine import slices


def work(person, slices_at_most=40):
    """Run slices until nothing is to do, waiting out what the engine waits for."""
    for _ in range(slices_at_most):
        seconds = slices.run(person.portal_id)
        if seconds is None:
            return
        time.sleep(min(seconds, 2.0))
    raise AssertionError("the work does not end")


def outcomes(job):
    """What became of each task, and why."""
    return {item.task_id: (item.state, item.code) for item in job.items.all()}
