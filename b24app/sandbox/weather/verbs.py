"""The table of verbs: what the control interface, or a fault in the middle of a call, can do to the portals."""

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Verb = Callable[[Body], Any]
VERBS: dict[str, Verb] = {}


def verb(run: Verb) -> Verb:
    """Register a function under its name. A trailing underscore avoids a built-in name and is not part of the verb."""
    VERBS[run.__name__.rstrip("_")] = run
    return run
