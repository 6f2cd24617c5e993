"""Tasks: who may do what to them, how their status changes, and how their timers run."""
