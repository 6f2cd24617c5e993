"""Knobs that the control interface turns while the sandbox runs.

A knob is looked up as "‹portal key›/‹name›" first, then as "‹name›", then in DEFAULTS. Values are held in
memory (the sandbox is one process) and kept in the Setting table.
"""

from typing import Any

from .models import Setting

DEFAULTS: dict[str, Any] = {
    "access_lifetime": 3600,  # seconds
    "refresh_lifetime": 28 * 86400,  # seconds; the shortest that any source gives
    "limits.bucket": True,  # the request bucket; its size and drain follow the portal's licence unless given
    "limits.bucket_size": None,  # requests
    "limits.bucket_drain": None,  # requests per second
    "limits.operating": 480,  # seconds of one method per window; False: not counted at all, as in a box
    "limits.operating_window": 600,  # seconds, in ten baskets
    "limits.request_seconds": 60,  # then the front end answers 504: what had begun is done, the rest never runs
    "cost.sleep": 1.0,  # how much of a method's cost ("cost.‹method›", seconds, default 0) is really slept
    "cost.told": 1.0,  # how much of it an answer tells as its duration, where that is more than it really took
    "events.delay": 0,  # seconds before an event is delivered
    "events.never": False,
    "events.times": 1,  # how often each is delivered
    "update.keeps_bindings": True,  # whether placements and events outlive an update of the app (sources disagree)
    "oauth.short_code_answer": True,  # the documented answer for a code: neither expires nor user_id
    "status.user_access_error": 403,  # 401 in older portals
    "status.plan": 403,  # of ACCESS_DENIED for want of a commercial plan; 401 in older portals
    "old_post": False,  # an old box: no SERVER_ENDPOINT, APPLICATION_TOKEN, APPLICATION_SCOPE; junk options
    "old_defer_rule": False,  # an old box: defer from in progress too, but not for the creator
    "no_new_tasks": False,  # an old box: no tasks.task.* at all
    "stale_task_cache": False,  # inside one batch a task's status is read once, before the first change
}

# What a portal does and a kind pretence would not. Each can be switched off ("trap.‹name›": false), only so
# that the conformance tests can show that they would notice.
TRAPS = {
    "strings_for_numbers": "every scalar of a task is a string",
    "empty_map_is_list": "an empty map is []",
    "list_for_numeric_keys": "a map with keys 0..n-1 is a list",
    "single_use_refresh": "a refresh token works once",
    "access_dies_with_refresh": "refreshing kills the old access token too",
    "one_code_for_all": "1048582 for no such task, no access, no right and wrong status alike",
    "start_has_its_own_code": "start and complete answer 0 where the others answer 1048582",
    "meta_status_shortcut": "nothing-to-do is judged by the meta status, so that overdue tasks are refused",
    "defer_only_from_pending": "a task in progress cannot be deferred in one step",
    "silent_get": "an unreadable task is 200 []",
    "method_before_token": "an unknown method is 404 whatever the token",
    "exact_argument_names": "taskId is not TASKID",
    "localized_errors": "a refusal speaks the person's language, so that only its code can be compared",
    "positional_legacy": "task.item.* counts parameters and ignores their names",
    "bad_json_is_nothing": "broken JSON is no parameters, not a parse error",
    "halt_is_truthiness": 'halt="false" halts',
    "batch_of_fifty": "the 51st command is refused",
    "empty_scope_text": "insufficient_scope inside a batch has no description",
    "wrong_client_is_200": "an unknown client_id is an error with status 200",
    "minus_one_counts_nothing": "start=-1 answers neither total nor next",
    "pages_beside_result": "next and total stand beside result",
    "only_selected_fields": "a list row has the selected fields, and no action map",
    "order_keys_are_checked": "an unknown sort key is an error",
    "unknown_filter_is_ignored": "an unknown filter key does not filter",
    "binding_twice_fails": "the same handler cannot be bound twice",
    "admin_binds_placements": "only an administrator binds placements",
    "uninstall_revokes_tokens": "tokens of an installation do not come back with the next one",
    "token_checks_are_cached": "after an uninstall a token that was in use gets another refusal than a fresh one",
    "install_event_is_asked_for_again": "every update forgets the handlers of ONAPPINSTALL",
    "no_event_before_finish": "an installation that was never finished goes without an event",
    "token_parameter_is_a_link": "a parameter named token turns the call into a signed link",
}

turned: dict[str, Any] = {}


def knob(name: str, portal_key: str = "") -> Any:
    for key in (f"{portal_key}/{name}", name):
        if key in turned:
            return turned[key]
    return DEFAULTS.get(name)


def trap(name: str, portal_key: str = "") -> bool:
    if name not in TRAPS:
        raise KeyError(name)
    value = knob(f"trap.{name}", portal_key)
    return value is None or bool(value)


def cost(method: str, portal_key: str = "") -> float:
    """Seconds that one run of `method` costs, beside what it really takes."""
    return float(knob(f"cost.{method}", portal_key) or 0)


def load() -> None:
    turned.clear()
    turned.update(Setting.objects.values_list("key", "value"))


def turn(key: str, value: Any) -> None:
    """Set a knob; None puts it back to its default."""
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
