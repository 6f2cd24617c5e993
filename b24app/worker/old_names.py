"""The task names of version 0.1. A worker understands them for one release; then this module is deleted.

A message lives for at most ENGINE_MESSAGE_LIFE seconds. A beat of version 0.1 sends the sweep under its old name.
"""

from b24app.celery import app
from b24app.worker import heartbeat, messages


@app.task(name="b24app.jobs.run_slice")
def run_slice(portal_id: int) -> None:
    messages.run_slice(portal_id)


@app.task(name="b24app.jobs.sweep")
def sweep() -> None:
    messages.sweep()


@app.task(name="b24app.jobs.confirm_removal")
def confirm_removal(portal_id: int) -> None:
    messages.confirm_uninstall(portal_id)


@app.task(name="b24app.jobs.check_bindings")
def check_bindings(person_id: int) -> None:
    messages.check_bindings(person_id)


@app.task(name="b24app.canary.canary")
def canary() -> None:
    heartbeat.heartbeat()
