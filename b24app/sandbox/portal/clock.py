"""The sandbox's clock. A file can move it: see CLOCK_FILE."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

# A file that moves the clock. It is read again after every write. It holds one of two things:
# seconds to add to the machine's clock (negative: to subtract), or an ISO instant. The clock showed that instant
# when the file was written, and runs on from there.
CLOCK_FILE = Path(os.environ["CLOCK_FILE"]) if os.environ.get("CLOCK_FILE") else None

latest: tuple[tuple[int, int], float] = ((0, 0), 0.0)  # of the file: (time of writing, size), and its offset


def seconds() -> float:
    """The current unix time."""
    return time.time() + offset()


def now() -> datetime:
    return datetime.fromtimestamp(seconds(), UTC)


def offset() -> float:
    """Seconds between the machine's clock and this one; 0 without a file. Raises ValueError for an unreadable time."""
    global latest
    if CLOCK_FILE is None:
        return 0.0
    try:
        written = CLOCK_FILE.stat()
        version = written.st_mtime_ns, written.st_size
        if version != latest[0]:
            latest = version, offset_in(CLOCK_FILE.read_text().strip(), written.st_mtime)
    except FileNotFoundError:
        return 0.0
    return latest[1]


def offset_in(text: str, written_at: float) -> float:
    try:
        return float(text or 0)
    except ValueError:
        instant = datetime.fromisoformat(text)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.timestamp() - written_at


def move(text: str) -> None:
    """Write CLOCK_FILE, which moves the clock of every process that reads it.

    Raises ValueError if the sandbox has no such file, or if the text is not a time.
    """
    if CLOCK_FILE is None:
        raise ValueError("The sandbox was started without a CLOCK_FILE, so its clock cannot be moved.")
    offset_in(text, 0.0)
    draft = CLOCK_FILE.with_name(f"{CLOCK_FILE.name}.new")
    draft.write_text(text)
    draft.replace(CLOCK_FILE)
