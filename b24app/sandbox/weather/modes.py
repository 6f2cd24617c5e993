"""Three sorts of portals there are, each as a set of knobs.

A cloud portal is what the knobs' defaults make. A box has no front end that counts and cuts. An old box is of the
time before tasks.task.* and before the newer fields of an opening.
"""

from typing import Any

from ..portal import knobs

BOX: dict[str, Any] = {"limits.bucket": False, "limits.operating": False, "limits.request_seconds": 3600}
OLD: dict[str, Any] = {"old_post": True, "old_defer_rule": True, "no_new_tasks": True}
MODES: dict[str, dict[str, Any]] = {"cloud": {}, "box": BOX, "old_box": BOX | OLD}


def make(portal_key: str, mode: str) -> None:
    """Turn the portal's knobs to those of the mode, and the other modes' back. Raises KeyError for no mode."""
    wanted = MODES[mode]
    for name in BOX | OLD:
        knobs.turn(f"{portal_key}/{name}", wanted.get(name))
