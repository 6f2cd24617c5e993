"""On the PYTHONPATH of a process under faults: its clock is SKEW seconds ahead of the others."""

import os
from datetime import UTC, datetime, timedelta

import time_machine

time_machine.travel(datetime.now(UTC) + timedelta(seconds=float(os.environ["SKEW"])), tick=True).start()
