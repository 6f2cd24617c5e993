"""The `batch` method: up to fifty commands in one request. They run in order; one may fail without the others."""

import re
from typing import Any

from ..portal import knobs
from ..portal.errors import RestError
from . import commands, php
from .call import Call, Params, method
from .parameters import without_credentials

LENGTH = 50
NOT_IN_BATCH = {"batch", "download", "upload"}
REFERENCE = re.compile(r"\$(result|error|total|next|time)((?:\[[^\[\]]+\])+)")
STEP = re.compile(r"\[([^\[\]]+)\]")


class Outcome:
    """The answers to the commands so far, by the keys of the commands."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, Any]] = {name: {} for name in ("result", "error", "total", "next", "time")}

    def succeed(self, key: str, envelope: dict[str, Any]) -> None:
        for name, value in envelope.items():
            self.maps[name][key] = value

    def fail(self, key: str, error: RestError) -> None:
        self.maps["error"][key] = error.body()

    def as_result(self, portal_key: str) -> dict[str, Any]:
        names = {name: "result" if name == "result" else f"result_{name}" for name in self.maps}
        return {names[name]: php.array(values, portal_key) for name, values in self.maps.items()}


@method("batch")
def batch(call: Call, params: Params) -> dict[str, Any]:
    upper = {name.upper(): value for name, value in params.items()}
    halt = halts(upper.get("HALT"), call.portal.key)
    outcome = Outcome()
    for index, (key, command) in enumerate(asked_commands(upper.get("CMD"))):
        if not isinstance(command, str):
            continue  # a portal skips it silently, but counts it
        try:
            if index >= LENGTH and knobs.trap("batch_of_fifty", call.portal.key):
                raise RestError(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
            outcome.succeed(key, run(call, key, command, outcome))
        except RestError as error:
            outcome.fail(key, error)
            if halt:
                break
    return outcome.as_result(call.portal.key)


def halts(value: Any, portal_key: str) -> bool:
    """Whether the batch stops at its first error."""
    if value == "false" and not knobs.trap("halt_is_truthiness", portal_key):
        return False
    return php.truthy(value)


def asked_commands(cmd: Any) -> list[tuple[str, Any]]:
    if isinstance(cmd, list):
        return [(str(index), command) for index, command in enumerate(cmd)]
    return list(cmd.items()) if isinstance(cmd, dict) else []


def run(call: Call, key: str, command: str, outcome: Outcome) -> dict[str, Any]:
    """Run one command and log it with its error code. The log keeps it even if the connection is cut."""
    name, _, query = command.partition("?")
    name = name.strip("/").lower()
    params = resolve(php.parse_str(query), outcome)
    entry = [key, name, params, ""]
    call.request.commands.append(entry)
    try:
        if name in NOT_IN_BATCH:
            raise RestError(400, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
        found = commands.find_method(call.portal, name)
        return commands.run_command(call, found, without_credentials(params), outer=False)
    except BaseException as error:
        entry[3] = error.code if isinstance(error, RestError) else type(error).__name__
        raise


def resolve(value: Any, outcome: Outcome) -> Any:
    """Replace references like `$result[first][task][id]` by earlier results."""
    if isinstance(value, dict):
        return {resolve_text(key, outcome): resolve(item, outcome) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, outcome) for item in value]
    whole = REFERENCE.fullmatch(value)
    return referenced(whole, outcome) if whole else resolve_text(value, outcome)


def resolve_text(text: str, outcome: Outcome) -> str:
    def replacement(found: re.Match[str]) -> str:
        value = referenced(found, outcome)
        return found.group() if isinstance(value, dict | list) else str(value)

    return REFERENCE.sub(replacement, text)


def referenced(found: re.Match[str], outcome: Outcome) -> Any:
    """The value of a reference. If a step is missing, the value of the last step that exists."""
    value: Any = outcome.maps[found.group(1)]
    for step in STEP.findall(found.group(2)):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            break
    return value
