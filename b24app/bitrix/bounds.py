"""What may come in: texts, numbers and dates of an answer, cleaned and bounded.

A portal may answer anything. Everything that the app stores, shows or logs of an answer passes one of these functions.
"""

import math
from datetime import UTC, datetime
from typing import Any

import orjson

LARGEST_ID = 2**63 - 1  # what a database column holds
LONGEST_NUMBER = 19  # digits of LARGEST_ID
LONGEST_TITLE = 300  # characters; Bitrix24 itself allows 255
LONGEST_NAME = 200
LONGEST_CODE = 100
LONGEST_DETAIL = 500
LONGEST_MOMENT = 40
LARGEST_TIME = 1e11  # seconds, also as unix time
FIRST_YEAR, LAST_YEAR = 1900, 9000  # every zone can show a date between them
# White space becomes a space. A control character, which a database may refuse, goes.
_CLEANED = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0))) | dict.fromkeys(map(ord, "\t\n\r"), " ")
MOST_PARTS = 200_000  # maps and lists in one answer: 50 pages of 50 rows have fewer, and each takes 64 bytes


class TooManyParts(ValueError):
    """The JSON text has more maps and lists than the app reads."""


def parse_json(body: bytes) -> Any:
    """The parsed JSON text. Raises ValueError if it is none, or if reading it would take too much memory."""
    if body.count(b"{") + body.count(b"[") > MOST_PARTS or body.count(b",") > 2 * MOST_PARTS:
        raise TooManyParts
    return orjson.loads(body)


def text(value: Any, longest: int) -> str:
    """A text or number as one line of at most `longest` characters. Other values are no text: ""."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    beginning = str(value)[: 2 * longest]
    if not beginning.isprintable():  # most texts are, and asking is ten times faster
        beginning = beginning.translate(_CLEANED)
    return beginning[:longest]


def code(value: Any) -> str:
    """An error code: printable characters only, so that it stays one word of a log line."""
    return "".join(filter(str.isprintable, str(value)[: 4 * LONGEST_CODE]))[:LONGEST_CODE]


def whole(value: Any) -> int | None:
    """A whole number from 0 to LARGEST_ID, or None. Portals write numbers as texts."""
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if len(digits) > LONGEST_NUMBER or not (digits.isascii() and digits.isdigit()):
        return None
    number = int(digits)
    return number if number <= LARGEST_ID else None


def identity(value: Any) -> int | None:
    """The id of a task or a user, from 1 on, or None."""
    return whole(value) or None


def seconds(value: Any) -> float | None:
    """A duration or a unix time in seconds, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= LARGEST_TIME else None


def moment(value: Any) -> datetime | None:
    """A date with an offset, or None: without an offset, or at the end of the calendar, it is unknown."""
    if not isinstance(value, str) or len(value) > LONGEST_MOMENT:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    is_known = found.tzinfo is not None and FIRST_YEAR <= found.year <= LAST_YEAR
    return found if is_known and found.astimezone(UTC) else None
