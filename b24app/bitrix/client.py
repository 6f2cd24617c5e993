"""Calls to one portal's REST interface on behalf of one person.

Answers are classified only here: callers get an Answer or one of the errors.
"""

import codecs
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from b24app.bitrix import bounds, http, records, stopwatch
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import BitrixError, Moved, Refused, Unknown, error_for
from b24app.bitrix.limits import BATCH_SIZE
from b24app.bitrix.records import Exchange, Operating, section

Params = Mapping[str, Any]

# Of one command of a batch this says that the person has no right to its task. Only as the answer to the whole request
# it speaks about the app. Source: manual, tasks/stages; system-errors.md.
ABOUT_ONE_TASK = frozenset({"access_denied"})
SECTIONS = ("result", "result_error", "result_total", "result_next", "result_time")  # of a batch's answer


@dataclass(frozen=True)
class Command:
    """One command of a batch. `key` must contain a letter: PHP turns the keys "0", "1" into a list."""

    key: str
    method: str
    params: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer of a method that succeeded. Only lists have `total` and `next`."""

    result: Any
    total: int | None = None
    next: int | None = None
    seconds: float | None = None
    operating: Operating | None = None


Reply = Answer | BitrixError  # the answer to one command of a batch


def _nothing(_: Any = None) -> None:
    """The default for both hooks: do nothing."""


@dataclass(frozen=True)
class Client:
    """A portal's endpoint ("https://acme.bitrix24.com/rest/") and one person's access token.

    `before` runs before every request and may prevent it by raising. `after` gets every finished exchange.

    A request must leave within `latest_start` seconds of `begun_at`, a time of the stopwatch: the moment when the
    caller wrote down that it will be made. Without `begun_at` it counts from before `before`.
    """

    endpoint: str
    access_token: str = field(repr=False)
    egress: http.Egress
    timeout: float = 75.0  # seconds; Bitrix24 itself gives up at 60
    longest_answer: int = http.LONGEST_PAGE  # bytes
    before: Callable[[], None] = _nothing
    after: Callable[[Exchange], None] = _nothing
    latest_start: float | None = None  # http.LATEST_START
    begun_at: float | None = None
    dialect: Dialect = Dialect.MODERN  # of the portal; callers use the modern one

    def call(self, method: str, params: Params | None = None) -> Answer:
        """Call one method. Raises a BitrixError; only Unknown means that the portal may have executed the call."""
        spelled, arguments = self.dialect.spell(method, params or {})
        body = self._post(spelled, dict(arguments))
        return _answer(self.dialect.read(method, body.get("result")), body, body.get("time"))

    def batch(self, commands: Sequence[Command]) -> dict[str, Reply]:
        """Run up to 50 commands in order in one request. A key without an answer is Unknown.

        A command runs even if the one before it failed. Raises like `call` for the request as a whole.
        Source: manual, batch.md.
        """
        if len(commands) > BATCH_SIZE:
            raise ValueError(f"{len(commands)} commands in one batch")
        cmd = {command.key: self._spelled(command) for command in commands}
        body = self._post("batch", {"halt": 0, "cmd": cmd})
        result = body.get("result")
        if not isinstance(result, dict):
            raise Unknown("garbled_batch")
        sections = {name: section(result, name) for name in SECTIONS}
        answers = {command.key: _of_command(command.key, sections) for command in commands}
        return {command.key: self._read(command, answers[command.key]) for command in commands}

    def _spelled(self, command: Command) -> str:
        method, params = self.dialect.spell(command.method, command.params)
        return f"{method}?{encode_query(params)}"

    def _read(self, command: Command, answer: Reply) -> Reply:
        if isinstance(answer, BitrixError):
            return answer
        result = self.dialect.read(command.method, answer.result)
        return answer if result is answer.result else replace(answer, result=result)

    def _post(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Make one HTTP request and return the answer, a map without `error`."""
        start_by = self._start_by()
        self.before()
        started, code, trace = time.monotonic(), "", http.Trace()
        outcome: dict[str, Any] = {}
        response: http.Response | None = None
        try:
            secret = {**params, "auth": self.access_token}
            response = http.post(
                self.egress, self.endpoint + method, secret, self.timeout, trace, start_by, self.longest_answer
            )
            body = parse(response)
            outcome = records.noteworthy(body, params)
            return body
        except BitrixError as error:
            code, error.request_id = error.code, trace.request_id
            outcome = records.error_body(response.body, self.access_token) if response else {}
            raise
        finally:
            milliseconds = int((time.monotonic() - started) * 1000)
            kept = records.short_params(params)
            self.after(Exchange(method, kept, trace.status, code, milliseconds, outcome, trace.request_id))

    def _start_by(self) -> float:
        """The stopwatch's time after which the next request may not leave any more."""
        begun_at = stopwatch.now() if self.begun_at is None else self.begun_at
        return begun_at + (http.LATEST_START if self.latest_start is None else self.latest_start)


def parse(response: http.Response) -> dict[str, Any]:
    """The answer as a map. Raises the error if the answer is one.

    The code decides; the status decides only if there is no code, because a proxy's page may have any status.
    """
    if response.status in (301, 302, 307, 308):
        raise Moved("moved", response.location)
    try:
        body = bounds.parse_json(response.body.removeprefix(codecs.BOM_UTF8))
    except bounds.TooManyParts:
        raise Unknown("answer_too_large") from None
    except ValueError:
        raise Unknown(f"not_json_{response.status}") from None
    if not isinstance(body, dict):
        raise Unknown(f"not_an_object_{response.status}")
    if body.get("error") not in (None, ""):
        raise _refusal(body)
    if response.status >= 400 or "result" not in body:
        raise Unknown(f"no_result_{response.status}")
    return body


def _refusal(refused: Mapping[str, Any]) -> BitrixError:
    """The error in an answer, by its code."""
    code = bounds.text(refused.get("error", ""), bounds.LONGEST_CODE)
    return error_for(code, bounds.text(refused.get("error_description"), bounds.LONGEST_DETAIL))


def success(answer: Reply) -> Answer:
    """The answer of a command. Raises it if it is an error."""
    if isinstance(answer, BitrixError):
        raise answer
    return answer


def encode_query(params: Params) -> str:
    """`params` in the form that PHP's parse_str reads: nested keys in brackets, lists numbered by position."""
    return "&".join(f"{quote(key, safe='[]')}={quote(value, safe='')}" for key, value in _flat(params))


def _flat(params: Params) -> list[tuple[str, str]]:
    pairs = []
    for key, value in params.items():
        if isinstance(value, Mapping):
            pairs += [(_nested(key, inner), text) for inner, text in _flat(value)]
        elif isinstance(value, (list, tuple)):
            pairs += _flat({f"{key}[{position}]": item for position, item in enumerate(value)})
        else:
            pairs.append((key, "" if value is None else str(value)))
    return pairs


def _nested(key: str, inner: str) -> str:
    """Nest a key: `filter` and `ID[0]` become `filter[ID][0]`."""
    head, bracket, rest = inner.partition("[")
    return f"{key}[{head}]{bracket}{rest}"


def _of_command(key: str, sections: Mapping[str, dict[str, Any]]) -> Reply:
    """The answer to one key of a batch. A key is in exactly one of result and result_error, or its answer is lost."""
    refused = sections["result_error"].get(key)
    if refused is not None:
        if isinstance(refused, dict):
            error = _refusal(refused)
            return Refused(error.code, error.detail) if error.code.lower() in ABOUT_ONE_TASK else error
        return Refused(bounds.text(refused, bounds.LONGEST_CODE))
    answered = sections["result"]
    if key not in answered:
        return Unknown("no_answer_for_key")
    paging = {"total": sections["result_total"].get(key), "next": sections["result_next"].get(key)}
    return _answer(answered[key], paging, sections["result_time"].get(key))


def _answer(result: Any, paging: Mapping[str, Any], spent: Any) -> Answer:
    spent = spent if isinstance(spent, dict) else {}
    return Answer(
        result,
        total=bounds.whole(paging.get("total")),
        next=bounds.whole(paging.get("next")),
        seconds=bounds.seconds(spent.get("duration")),
        operating=records.operating_of(spent),
    )
