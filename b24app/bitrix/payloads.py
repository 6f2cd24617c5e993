"""What a browser or a portal posts to the app, parsed into frozen dataclasses. Raises BadPayload.

All of it is a claim until a portal or an authorization server has confirmed it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MEMBER_ID = re.compile(r"[0-9a-zA-Z]{8,64}")
TOKEN = re.compile(r"[0-9a-zA-Z._-]{8,255}")
LANGUAGE = re.compile(r"[0-9a-zA-Z_-]{1,10}")
DOMAIN = re.compile(r"[0-9a-zA-Z.-]{1,250}(:[0-9]{1,5})?")
SERVER = re.compile(r"https?://[0-9a-zA-Z.-]{1,150}(:[0-9]{1,5})?(/[0-9a-zA-Z./_-]{0,40})?")
LONGEST_OPTIONS = 8 * 1024  # characters of PLACEMENT_OPTIONS
MOST_OPTIONS = 50


class BadPayload(Exception):
    """Bitrix24 does not send such a POST. The message may be shown to the sender."""


@dataclass(frozen=True)
class Opening:
    """Bitrix24 opens our page in its frame (a placement, or the installer). Not proven yet.

    Source: manual, widgets/_includes/widget_data.md.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    lifetime: int  # of the access token, in seconds
    member_id: str
    server_endpoint: str  # "" from older boxes, or if it is malformed
    application_token: str = field(repr=False)  # "" from older boxes
    domain: str
    is_https: bool
    language: str  # Bitrix24's code
    placement: str
    options: Mapping[str, str]

    @property
    def portal_origin(self) -> str:
        """The portal's address as the frame claims it. Only for display and framing; never call it."""
        return f"{'https' if self.is_https else 'http'}://{self.domain}" if self.domain else ""

    @property
    def task_id(self) -> int | None:
        """The task that the page was opened from."""
        return _positive(self.options.get("taskId") or self.options.get("ID"))

    @property
    def owner_id(self) -> int | None:
        """The user whose task list the page was opened from. They need not be the viewer."""
        return _positive(self.options.get("USER_ID"))

    @property
    def project_id(self) -> int | None:
        return _positive(self.options.get("GROUP_ID"))


@dataclass(frozen=True)
class Event:
    """An event that a portal reports. Not proven yet."""

    name: str
    member_id: str
    application_token: str = field(repr=False)
    data: Mapping[str, str]


def read_opening(query: Mapping[str, str], form: Mapping[str, str]) -> Opening:
    """Parse the POST of an opening. Raises BadPayload."""
    return Opening(
        access_token=_matching(TOKEN, form.get("AUTH_ID", ""), "AUTH_ID"),
        refresh_token=_matching(TOKEN, form.get("REFRESH_ID", ""), "REFRESH_ID"),
        lifetime=_positive(form.get("AUTH_EXPIRES")) or 3600,
        member_id=_matching(MEMBER_ID, form.get("member_id", ""), "member_id"),
        server_endpoint=_or_empty(SERVER, form.get("SERVER_ENDPOINT", "")),
        application_token=form.get("APPLICATION_TOKEN", "")[:64],
        domain=_or_empty(DOMAIN, query.get("DOMAIN", "")),
        is_https=query.get("PROTOCOL", "1") != "0",
        language=_or_empty(LANGUAGE, query.get("LANG", "")),
        placement=form.get("PLACEMENT", "DEFAULT")[:60],
        options=_options(form.get("PLACEMENT_OPTIONS", "")),
    )


def read_event(form: Mapping[str, str]) -> Event:
    """Parse the POST of an event, with nested keys in PHP's form: auth[member_id]. Raises BadPayload."""
    return Event(
        name=form.get("event", "")[:60].upper(),
        member_id=_matching(MEMBER_ID, form.get("auth[member_id]", ""), "auth[member_id]"),
        application_token=form.get("auth[application_token]", "")[:64],
        data={key[5:-1]: value for key, value in form.items() if key.startswith("data[") and key.endswith("]")},
    )


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise BadPayload(f"{name} is missing or malformed")
    return value


def _or_empty(pattern: re.Pattern[str], value: str) -> str:
    return value if pattern.fullmatch(value) else ""


def _positive(value: str | None) -> int | None:
    number = int(value) if value and value.isascii() and value.isdigit() and len(value) < 16 else 0
    return number or None


def _options(text: str) -> dict[str, str]:
    """Parse PLACEMENT_OPTIONS, a JSON text; some placements send "undefined". Raises BadPayload if it is too long."""
    if len(text) > LONGEST_OPTIONS:
        raise BadPayload("PLACEMENT_OPTIONS is too long")
    try:
        options: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):  # no JSON, or nested too deeply
        return {}
    if not isinstance(options, dict):
        return {}
    simple = [(key[:100], str(value)[:500]) for key, value in options.items() if isinstance(value, (str, int))]
    return dict(simple[:MOST_OPTIONS])
