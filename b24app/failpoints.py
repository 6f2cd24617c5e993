"""Failpoints: places at which a fault test kills or stops a worker. In production they do nothing.

FAILPOINTS names a folder of plan files. A process that reaches a failpoint consumes the first plan file for it
("claimed.1") and executes it: "pass" does nothing, "stop" stops the process, a number kills it after so many seconds.
"""

import os
import signal
import threading
from pathlib import Path

from django.conf import settings

POINTS = ("claimed", "reserved", "answered", "saving", "saved", "renewed")


def reach(point: str) -> None:
    """Execute the next plan for this failpoint, if there is one."""
    if not settings.FAILPOINTS:
        return
    for plan in sorted(Path(settings.FAILPOINTS).glob(f"{point}.*")):
        try:
            action = plan.read_text()
            plan.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        _do(action)
        return


def _do(action: str) -> None:
    if action == "stop":
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # a signal to the process would arrive later
    elif action == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action != "pass":
        threading.Timer(float(action), os.kill, (os.getpid(), signal.SIGKILL)).start()
