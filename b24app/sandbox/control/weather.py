"""Verbs about the clock, knobs and faults."""

from typing import Any

from ..portal import clock, knobs
from ..portal.models import Fault
from ..weather import faults
from ..weather.verbs import VERBS, Body, verb
from .rows import portal_of


@verb
def time(body: Body) -> str:
    """The current time. {to}, an ISO instant or seconds ahead, moves the clock first, also that of the app."""
    if "to" in body:
        clock.move(str(body["to"]))
    return clock.now().isoformat()


@verb
def settings(body: Body) -> dict[str, Any]:
    """Turn knobs: {name: value, …}, null for the default; see portal/knobs.py. Returns all turned knobs."""
    for name, value in body.items():
        knobs.turn(name, value)
    return dict(knobs.turned)


@verb
def traps(body: Body) -> dict[str, str]:
    """All traps, each with a line of explanation."""
    return knobs.TRAPS


@verb
def fault(body: Body) -> int:
    """Add a fault: {method, kind, portal?, times?, skip?, probability?, seed?, …options} -> id; see faults.py."""
    own = {name: body[name] for name in ("method", "kind", "times", "skip", "probability", "seed") if name in body}
    options = {name: value for name, value in body.items() if name not in own and name != "portal"}
    if own["kind"] not in (*faults.BEFORE, *faults.AFTER) or options.get("verb", "fault") not in VERBS:
        raise ValueError(f"Unknown kind of fault {own['kind']}, or unknown verb {options.get('verb')}")
    portal = portal_of(body) if body.get("portal") else None
    faults.armed.set()
    return Fault.objects.create(portal=portal, options=options, **own).pk


@verb
def clear_faults(body: Body) -> None:
    Fault.objects.all().delete()
    faults.armed.clear()
    faults.dice.clear()
