"""How much fits into the next batch, and what a batch teaches about the portal: arithmetic over plain values."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from b24app.bitrix import limits
from b24app.bitrix.client import Answer, Reply
from b24app.bitrix.tasks import Act

T = TypeVar("T")

Operating = Mapping[str, Sequence[float]]  # method -> seconds used, unix time of the reset
Replies = Mapping[tuple[int, Act], Reply]  # by task id and act

COMMANDS_PER_TASK = 2  # at most: pause and defer, or renew and start
UNMEASURED = 0.01  # seconds of operating time that a command is assumed to cost until one was measured


def places(seconds_per_command: float | None, seconds: float) -> int:
    """How many commands a batch of `seconds` may contain, up to the portal's limit."""
    return limits.commands_that_fit(seconds_per_command, seconds)


def has_room_for_another(commands: int, places: int) -> bool:
    """True if one more task of any kind fits into a batch that contains `commands`."""
    return commands + COMMANDS_PER_TASK <= places


def fitting(
    items: Sequence[T], acts_for: Callable[[T], Sequence[Act]], places: int, cost: float, left: Callable[[Act], float]
) -> list[T]:
    """The first of `items` that fit into one batch.

    `places` counts commands, `cost` is the operating time of one command, and `left` tells how much operating time a
    method has left; both in seconds. All acts of an item are planned together: no task is paused that could not be
    deferred.
    """
    remaining: dict[Act, float] = {}
    chosen: list[T] = []
    for item in items:
        acts = acts_for(item)
        if len(acts) > places:
            break
        after = {act: (remaining[act] if act in remaining else left(act)) - cost for act in acts}
        if min(after.values()) >= 0:
            remaining |= after
            places -= len(acts)
            chosen.append(item)
    return chosen


def operating_left(operating: Operating, act: Act, now: float, is_in_use: bool) -> float:
    """Seconds of operating time that the method of `act` has left for us at the unix time `now`."""
    used, reset_at = operating.get(act.method, (0.0, 0.0))
    return limits.operating_left(used, reset_at, now, is_in_use)


def seconds_until_reset(operating: Operating, methods: Collection[str], now: float) -> float | None:
    """Seconds until the portal resets the operating time of these methods. None if it never reported a reset."""
    left = [operating[method][1] - now for method in methods if method in operating]
    return max(1.0, max(left) + 1) if left and max(left) > -1 else None


@dataclass(frozen=True)
class Measured:
    """What the answers of a batch show: seconds per command, smoothed, and the operating time of each method."""

    seconds_per_command: float
    operating: dict[str, Sequence[float]]


def measure(replies: Replies, seconds_before: float | None, operating_before: Operating) -> Measured | None:
    """What these answers show, added to what was known before. None if no answer contains a time."""
    answers = [(act, reply) for (_, act), reply in replies.items() if isinstance(reply, Answer)]
    seconds = [reply.seconds for _, reply in answers if reply.seconds is not None]
    if not seconds:
        return None
    told = {
        act.method: [reply.operating.seconds, reply.operating.reset_at] for act, reply in answers if reply.operating
    }
    average = limits.smoothed(seconds_before, sum(seconds) / len(seconds))
    return Measured(average, {**operating_before, **told})
