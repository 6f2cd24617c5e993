"""What the journal keeps of one exchange: at most 16 KB, without credentials and without the contents of answers."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from b24app.bitrix import bounds

LONGEST_PARAMS = 9 * 1024  # characters of JSON
LONGEST_OUTCOME = 6 * 1024
ERROR_BODY = 4096  # bytes of an error answer
TIMES = ("start", "finish", "duration", "processing", "operating", "operating_reset_at")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, for the journal. It contains no credentials."""

    method: str
    params: dict[str, Any]
    status: int | None
    code: str
    milliseconds: int
    outcome: dict[str, Any]
    request_id: uuid.UUID


@dataclass(frozen=True)
class Operating:
    """How much operating time a method has used, in seconds, and when the portal resets it (unix time)."""

    seconds: float
    reset_at: float


def operating_of(spent: Mapping[str, Any]) -> Operating | None:
    seconds, reset_at = bounds.seconds(spent.get("operating")), bounds.seconds(spent.get("operating_reset_at"))
    return Operating(seconds, reset_at) if seconds is not None and reset_at is not None else None


def section(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One map of a batch answer. PHP writes an empty map as a list."""
    found = result.get(name)
    return found if isinstance(found, dict) else {}


def noteworthy(body: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an answer that the journal keeps: times and counts.

    For a batch also the error code of each command, and the operating time of each method.
    """
    counts = {name: bounds.whole(body.get(name)) for name in ("total", "next")}
    kept: dict[str, Any] = {name: count for name, count in counts.items() if count is not None}
    if spent := section(body, "time"):
        kept["time"] = {name: bounds.seconds(spent[name]) for name in TIMES if name in spent}
    result = body.get("result")
    if isinstance(result, dict) and "result_error" in result:
        cmd = section(params, "cmd")
        errors, answered = section(result, "result_error"), section(result, "result")
        kept["errors"] = {key: _code_of(errors[key]) for key in cmd if key in errors}
        kept["answered"] = sorted(key for key in cmd if key in answered)
        kept["operating"] = _operating_by_method(cmd, section(result, "result_time"))
    return _fitting(kept)


def _code_of(refused: Any) -> str:
    return bounds.code(refused.get("error", "")) if isinstance(refused, dict) else ""


def _operating_by_method(cmd: Mapping[str, str], spent: Mapping[str, Any]) -> dict[str, list[float]]:
    """The last report of a batch for each method: seconds used, and the time of the reset (unix time)."""
    last: dict[str, list[float]] = {}
    for key, command in cmd.items():
        times = spent.get(key)
        if isinstance(times, dict) and (operating := operating_of(times)):
            last[command.partition("?")[0]] = [operating.seconds, operating.reset_at]
    return last


def _fitting(kept: dict[str, Any]) -> dict[str, Any]:
    """The outcome, without the codes of its errors if they are too long together."""
    if _length(kept) <= LONGEST_OUTCOME:
        return kept
    return {**kept, "errors": {key: code[:20] for key, code in kept.get("errors", {}).items()}}


def error_body(body: bytes, secret: str) -> dict[str, Any]:
    """The beginning of an error answer. Masks `secret`, the access token, because the answer may quote it."""
    # Before the cut, which could leave a part of the token.
    masked = body.replace(secret.encode(), b"***")
    legible = masked[:ERROR_BODY].decode(errors="replace").replace("\0", "")
    while _length(legible) > LONGEST_OUTCOME:  # JSON writes some characters as six
        legible = legible[: len(legible) // 2]
    return {"body": legible}


def short_params(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request. If they are too long, of each command only the beginning."""
    if _length(params) <= LONGEST_PARAMS:
        return params
    commands = section(params, "cmd")
    if not commands:
        return {"cut": _length(params)}
    share = LONGEST_PARAMS // len(commands) - 20
    return {**params, "cmd": {key: command[:share] for key, command in commands.items()}}


def _length(value: Any) -> int:
    return len(json.dumps(value))
