"""Knobs: settings of a portal that the control interface changes while the sandbox runs.

A knob is looked up as "‹portal key›/‹name›" first, then as "‹name›", then in DEFAULTS. The values are held in
memory (the sandbox is one process) and saved in the Setting table.
"""

from typing import Any

from .models import Setting

DEFAULTS: dict[str, Any] = {
    "access_lifetime": 3600,  # seconds
    "refresh_lifetime": 28 * 86400,  # seconds; the shortest lifetime that any source gives
    "limits.bucket": True,  # the request bucket; the portal's licence sets size and drain unless the next two knobs do
    "limits.bucket_size": None,  # requests
    "limits.bucket_drain": None,  # requests per second
    "limits.operating": 480,  # seconds of one method per window; False: not counted, as in a box
    "limits.operating_window": 600,  # seconds, in ten baskets
    "limits.request_seconds": 60,  # then the front end answers 504: a command that began is done, the rest never run
    "cost.sleep": 1.0,  # the share of a method's cost ("cost.‹method›", seconds, default 0) that the sandbox sleeps
    "cost.told": 1.0,  # the share of the cost that an answer reports as duration, if it is more than the real time
    "events.delay": 0,  # seconds before an event is delivered
    "events.never": False,  # True: events are not delivered
    "events.times": 1,  # how often each event is delivered
    "update.keeps_bindings": True,  # whether bindings survive an update of the app (sources disagree)
    "oauth.short_code_answer": True,  # as documented, the answer for a code has neither expires nor user_id
    "status.user_access_error": 403,  # 401 in older portals
    "status.plan": 403,  # of ACCESS_DENIED without a commercial plan; 401 in older portals
    "old_post": False,  # an old box posts no SERVER_ENDPOINT, APPLICATION_TOKEN, APPLICATION_SCOPE, and junk options
    "old_defer_rule": False,  # an old box defers tasks in progress too, but not for the creator
    "no_new_tasks": False,  # an old box has no tasks.task.*
    "stale_task_cache": False,  # inside one batch, a task's status is read once, before the first change
}

# Traps: awkward things that a real portal does and that a simpler imitation would leave out. Each can be
# switched off ("trap.‹name›": false), so that the conformance tests can prove that they notice the difference.
TRAPS = {
    "strings_for_numbers": "every scalar of a task is a string",
    "empty_map_is_list": "an empty map is []",
    "list_for_numeric_keys": "a map with keys 0..n-1 is a list",
    "single_use_refresh": "a refresh token works once",
    "access_dies_with_refresh": "refreshing kills the old access token too",
    "one_code_for_all": "1048582 for a missing task, no access, no right and a wrong status alike",
    "start_has_its_own_code": "start and complete answer 0 where the others answer 1048582",
    "meta_status_shortcut": "the meta status decides whether there is nothing to do, so overdue tasks are refused",
    "defer_only_from_pending": "a task in progress cannot be deferred in one step",
    "silent_get": "a task that cannot be read is answered with 200 and []",
    "method_before_token": "an unknown method is answered with 404, whatever the token is",
    "exact_argument_names": "argument names are case-sensitive: TASKID is not taskId",
    "localized_errors": "the text of a refusal is in the person's language, so only its code can be compared",
    "positional_legacy": "task.item.* counts parameters and ignores their names",
    "bad_json_is_nothing": "broken JSON counts as no parameters; it is not a parse error",
    "halt_is_truthiness": 'halt="false" halts',
    "batch_of_fifty": "the 51st command is refused",
    "empty_scope_text": "insufficient_scope inside a batch has no description",
    "wrong_client_is_200": "an unknown client_id is an error with status 200",
    "minus_one_counts_nothing": "the answer to start=-1 has neither total nor next",
    "pages_beside_result": "next and total stand beside result",
    "only_selected_fields": "a list row has only the selected fields and no action map",
    "order_keys_are_checked": "an unknown sort key is an error",
    "unknown_filter_is_ignored": "an unknown filter key does not filter",
    "binding_twice_fails": "the same handler cannot be bound twice",
    "admin_binds_placements": "only an administrator binds placements",
    "uninstall_revokes_tokens": "tokens of a removed installation stay dead after the next installation",
    "token_checks_are_cached": "after an uninstall, a token that was in use gets another error than a fresh one",
    "install_event_is_asked_for_again": "every update removes the handlers of ONAPPINSTALL",
    "no_event_before_finish": "removing an installation that was never finished sends no event",
    "token_parameter_is_a_link": "a parameter named token makes the portal treat the call as a signed link",
}

turned: dict[str, Any] = {}


def knob(name: str, portal_key: str = "") -> Any:
    for key in (f"{portal_key}/{name}", name):
        if key in turned:
            return turned[key]
    return DEFAULTS.get(name)


def trap(name: str, portal_key: str = "") -> bool:
    """Whether the trap is on, as all are by default. Raises KeyError for an unknown trap."""
    if name not in TRAPS:
        raise KeyError(name)
    value = knob(f"trap.{name}", portal_key)
    return value is None or bool(value)


def cost(method: str, portal_key: str = "") -> float:
    """Seconds that one run of `method` costs in addition to its real time."""
    return float(knob(f"cost.{method}", portal_key) or 0)


def load() -> None:
    """Read the saved values into memory."""
    turned.clear()
    turned.update(Setting.objects.values_list("key", "value"))


def turn(key: str, value: Any) -> None:
    """Set a knob; None restores its default. Raises KeyError for an unknown knob."""
    name = key.rpartition("/")[2]
    known = name in DEFAULTS or name.startswith("cost.") or name.removeprefix("trap.") in TRAPS
    if not known:
        raise KeyError(key)
    if value is None:
        Setting.objects.filter(key=key).delete()
        turned.pop(key, None)
    else:
        Setting.objects.update_or_create(key=key, defaults={"value": value})
        turned[key] = value
