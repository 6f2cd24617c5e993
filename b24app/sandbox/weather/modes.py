"""The modes of a portal: cloud, box and old box, each a set of knobs.

A cloud portal has all knobs at their defaults. A box has no front end that counts requests or cuts long ones. An old
box is also older than tasks.task.* and than the newer fields of an opening.
"""

from typing import Any

from ..portal import knobs

BOX: dict[str, Any] = {"limits.bucket": False, "limits.operating": False, "limits.request_seconds": 3600}
OLD: dict[str, Any] = {"old_post": True, "old_defer_rule": True, "no_new_tasks": True}
MODES: dict[str, dict[str, Any]] = {"cloud": {}, "box": BOX, "old_box": BOX | OLD}


def make(portal_key: str, mode: str) -> None:
    """Set the knobs of the mode and reset those of the other modes. Raises KeyError for an unknown mode."""
    wanted = MODES[mode]
    for name in BOX | OLD:
        knobs.turn(f"{portal_key}/{name}", wanted.get(name))
