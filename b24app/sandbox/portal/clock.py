"""The sandbox's time, in one place. It can be moved: see CLOCK_FILE."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

# A file that moves the clock, read anew whenever it was written. It holds seconds to go ahead of (or behind) the
# machine's clock, or an ISO instant: that is what it was when the file was written, and the clock goes on from there.
CLOCK_FILE = Path(os.environ["CLOCK_FILE"]) if os.environ.get("CLOCK_FILE") else None

latest: tuple[tuple[int, int], float] = ((0, 0), 0.0)  # of the file: (when written, size), and the offset it holds


def seconds() -> float:
    return time.time() + offset()


def now() -> datetime:
    return datetime.fromtimestamp(seconds(), UTC)


def offset() -> float:
    """Seconds between the machine's clock and ours; 0 without a file. Raises ValueError for what is no time."""
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
    """Write CLOCK_FILE, for everybody who reads it. Raises ValueError without such a file, or for what is no time."""
    if CLOCK_FILE is None:
        raise ValueError("The sandbox was started without a CLOCK_FILE, so its clock cannot be moved.")
    offset_in(text, 0.0)
    draft = CLOCK_FILE.with_name(f"{CLOCK_FILE.name}.new")
    draft.write_text(text)
    draft.replace(CLOCK_FILE)
