"""The oracle itself reports a wrong outcome and a leaked secret."""

import base64

import pytest

from tests.faults import oracle

DEFERRED = [
    {"task": 1, "before": 3, "after": 2, "method": "tasks.task.pause", "person": 7},
    {"task": 1, "before": 2, "after": 6, "method": "tasks.task.defer", "person": 7},
]
PAUSED = DEFERRED[:1]
RESTORED = [*PAUSED, {"task": 1, "before": 2, "after": 3, "method": "tasks.task.start", "person": 7}]
BACK = [
    *DEFERRED,
    {"task": 1, "before": 6, "after": 2, "method": "tasks.task.renew", "person": 7},
    {"task": 1, "before": 2, "after": 3, "method": "tasks.task.start", "person": 7},
]
REOPENED = [*BACK[:2], {"task": 1, "before": 5, "after": 2, "method": "tasks.task.renew", "person": 7}]
BY_HAND = [{"task": 1, "before": 3, "after": 5, "method": "control", "person": None}]


def verdict(state, code, status, history, ran=None, user=7):
    item = oracle.Item(11, "member", user, 1, state, code, 3, "defer")
    return oracle.of_task("acme", 1, status, [item], history, ran or oracle.Counter())


def verdict_of_return(state, code, status, history):
    items = [oracle.Item(11, "member", 7, 1, "done", "", 3, "defer")]
    items.append(oracle.Item(12, "member", 7, 1, state, code, 3, "return"))
    return oracle.of_task("acme", 1, status, items, history, oracle.Counter())


@pytest.mark.parametrize(
    "state, code, status, history",
    [
        ("done", "", 6, DEFERRED),
        ("skipped", "already_deferred", 6, []),
        ("skipped", "completed", 5, BY_HAND),
        ("failed", "not_permitted", 3, RESTORED),
        ("failed", "left_paused", 2, PAUSED),
        ("skipped", "gone", None, []),
        ("cancelled", "", 3, []),
    ],
)
def test_a_true_outcome_passes(state, code, status, history):
    assert verdict(state, code, status, history) == []


@pytest.mark.parametrize(
    "state, code, status, history",
    [
        ("done", "", 3, []),
        ("done", "", 2, PAUSED),
        ("failed", "not_permitted", 6, DEFERRED),
        ("failed", "not_permitted", 2, PAUSED),
        ("skipped", "completed", 3, []),
        ("skipped", "gone", 3, []),
        ("sent", "", 6, DEFERRED),
        ("cancelled", "", 6, DEFERRED),
        ("done", "", 6, [*DEFERRED, *DEFERRED]),
    ],
)
def test_a_wrong_outcome_is_seen(state, code, status, history):
    assert verdict(state, code, status, history)


@pytest.mark.parametrize(
    "state, code, status, history",
    [
        ("done", "", 3, BACK),
        ("done", "not_started", 2, BACK[:3]),
        ("failed", "not_permitted", 6, DEFERRED),
        ("skipped", "completed", 5, [*DEFERRED, *BY_HAND]),
    ],
)
def test_a_true_return_passes(state, code, status, history):
    assert verdict_of_return(state, code, status, history) == []


def test_jobs_over_one_task_may_end_in_any_order():
    items = [oracle.Item(11, "member", 7, 1, "done", "", 2, kind) for kind in ("defer", "defer", "return")]
    changes = [("defer", 2, 6), ("renew", 6, 2), ("defer", 2, 6)]
    history = [
        {"task": 1, "before": before, "after": after, "method": f"tasks.task.{act}", "person": 7}
        for act, before, after in changes
    ]
    assert oracle.of_task("acme", 1, 6, items, history, oracle.Counter()) == []


@pytest.mark.parametrize(
    "state, code, status, history",
    [
        ("done", "", 6, DEFERRED),
        ("done", "", 2, BACK[:3]),
        ("failed", "not_permitted", 3, BACK),
        ("done", "", 2, REOPENED),
        ("sent", "", 3, BACK),
    ],
)
def test_a_wrong_return_is_seen(state, code, status, history):
    assert verdict_of_return(state, code, status, history)


def test_a_repeated_act_is_seen():
    assert verdict("done", "", 6, DEFERRED, oracle.Counter({("tasks.task.defer", 1): 2}))


def test_a_foreign_token_is_seen():
    assert verdict("done", "", 6, DEFERRED, user=8)


def test_a_leaked_secret_is_found():
    body = base64.b64encode(b'[["the-secret"], {}]').decode()
    places = {"log": "token=the-secret", "redis": f'{{"body": "{body}"}}', "clean": "nothing"}
    assert sorted(oracle.leaks({"the-secret"}, places)) == ["log holds a secret", "redis holds a secret"]


@pytest.mark.parametrize(
    "history, before, codes",
    [
        (DEFERRED, 3, {""}),
        (DEFERRED[1:], 2, {""}),
        (DEFERRED, 2, {"", "left_paused"}),
        (DEFERRED, 3, {"", "left_paused"}),
        ([*PAUSED, {**DEFERRED[1], "person": 8}], 2, {""}),
        (PAUSED, 3, {""}),
    ],
)
def test_a_true_deferral_passes(history, before, codes):
    assert oracle.of_ledger("task", history, oracle.Deferral("member", 1, before), codes) == []


@pytest.mark.parametrize("live", [None, oracle.Deferral("member", 1, 2)])
def test_a_missing_or_wrong_deferral_is_seen(live):
    assert oracle.of_ledger("task", DEFERRED, live, {""})


def test_a_late_command_may_run_twice():
    ran, late = oracle.Counter({("tasks.task.defer", 1): 2}), oracle.Counter({("tasks.task.defer", 1): 1})
    assert verdict("done", "", 6, DEFERRED, ran - late) == []
