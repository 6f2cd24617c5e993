"""The language and the time zone of the person who reads a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone, translation

from b24app.models import Person


@contextmanager
def speaking_to(person: Person, language: str) -> Iterator[None]:
    """Inside this block, texts are in `language` and times are in the person's zone."""
    with translation.override(language), timezone.override(_zone_of(person)):
        yield


def _zone_of(person: Person) -> ZoneInfo:
    try:
        return ZoneInfo(person.zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown here, or a folder of the zone files, like "Europe"
        return ZoneInfo("UTC")
