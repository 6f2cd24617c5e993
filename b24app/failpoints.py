"""Places where the fault bench ends a worker in the middle of its work. In production they do nothing.

FAILPOINTS names a folder. Whoever reaches a point takes the first file of the point's name from it ("claimed.1")
and does what that says: "pass", "stop" the process, or the seconds after which it is killed.
"""

import os
import signal
import threading
from pathlib import Path

from django.conf import settings

POINTS = ("claimed", "reserved", "answered", "saving", "saved", "renewed")


def reach(point: str) -> None:
    """Do here what the bench has planned for the next process that comes by; usually nothing."""
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
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # sent to the process, it would come a little later
    elif action == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action != "pass":
        threading.Timer(float(action), os.kill, (os.getpid(), signal.SIGKILL)).start()
