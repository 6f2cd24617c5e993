"""The REST methods. Importing this package fills the table of methods."""

from ..wire import batch
from . import app, company, events, legacy, placements, tasks, users

__all__ = ["app", "batch", "company", "events", "legacy", "placements", "tasks", "users"]
