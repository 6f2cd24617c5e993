"""The REST methods, one module per scope; importing this fills the table of methods."""

from .. import batch
from . import app, events, legacy, placements, tasks, users

__all__ = ["app", "batch", "events", "legacy", "placements", "tasks", "users"]
