"""What can be done to the portals from outside: by the control interface, or by a fault in the middle of a call."""

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Verb = Callable[[Body], Any]
VERBS: dict[str, Verb] = {}


def verb(run: Verb) -> Verb:
    """Register a function under its name; a last underscore only keeps it apart from Python's own names."""
    VERBS[run.__name__.rstrip("_")] = run
    return run
