"""What must hold after every fault: compares the portals' logs with the app's database, item by item.

The sandbox logs every change of a real status and every command. The app's rows must agree with that log.
Each violation is reported as a sentence; a test expects an empty list.
"""

import base64
import json
import re
import sqlite3
from collections import Counter, namedtuple
from contextlib import closing

ITEMS = """
    select item.id, portal.member_id, person.user_id, item.task_id, item.state, item.code, item.status_before, job.kind
    from defer_jobitem item join defer_job job on job.id = item.job_id
    join defer_person person on person.id = job.person_id join defer_portal portal on portal.id = job.portal_id
    order by item.id
"""
DEFERRALS = """
    select portal.member_id, deferral.task_id, deferral.previous_status
    from defer_deferral deferral join defer_portal portal on portal.id = deferral.portal_id
    where deferral.state = 'sleeping'
"""
Deferral = namedtuple("Deferral", "portal task before")
Item = namedtuple("Item", "id portal person task state code before kind")
COUNTED = ("done", "skipped", "failed")
TERMINAL = (*COUNTED, "cancelled")
STATUS_OF = {
    **{"already_deferred": 6, "completed": 5, "awaiting_control": 4, "declined": 7, "left_paused": 2},
    **{"deferred_anew": 6, "not_started": 2},
}
APP_METHODS = ("tasks.task.pause", "tasks.task.defer", "tasks.task.start", "tasks.task.renew")


def violations(sandbox, rows, late=None):
    """A sentence for each lost, repeated or misreported change; `rows(sql)` queries the app's database.

    `late` counts, by method and task, the commands that arrived so late that the app was right to send them again.
    """
    found = leftovers(rows)
    deferrals = [Deferral(*row) for row in rows(DEFERRALS)]
    keys = {portal["member_id"]: portal["key"] for portal in sandbox.control("portals")}
    items = [Item(*row) for row in rows(ITEMS)]
    for member_id in {item.portal for item in items}:
        mine = [item for item in items if item.portal == member_id]
        live = {deferral.task: deferral for deferral in deferrals if deferral.portal == member_id}
        found += of_portal(sandbox, keys[member_id], mine, live, late or Counter())
    return found


DONE = "select item.id from defer_jobitem item join defer_job job on job.id = item.job_id where item.state = 'done'"
STILL_DEFERRED = (
    f"{DONE} and job.kind = 'return' and item.returns_id in (select id from defer_deferral where state = 'sleeping')"
)


def leftovers(rows):
    """Unfinished jobs, held leases, and rows that contradict each other."""
    found = [
        f"job {job} is {state}" for job, state in rows("select id, state from defer_job where state <> 'finished'")
    ]
    held = "select id from defer_portal where lease_owner is not null"
    found += [f"portal {portal}: its lease is stuck" for (portal,) in rows(held)]
    for job, total, done, skipped, failed in rows("select id, total, done, skipped, failed from defer_job"):
        counts = dict(rows(f"select state, count(*) from defer_jobitem where job_id = {job} group by state"))
        if total != sum(counts.values()) or (done, skipped, failed) != tuple(counts.get(name, 0) for name in COUNTED):
            found.append(f"job {job} counts {(total, done, skipped, failed)}, its items {counts}")
    deferrals = Counter(item for (item,) in rows("select item_id from defer_deferral where item_id is not null"))
    done = {item for (item,) in rows(f"{DONE} and job.kind = 'defer'")}
    found += [f"item {item} is done without a deferral" for item in done - set(deferrals)]
    found += [f"item {item} has a deferral and is not done" for item in set(deferrals) - done]
    found += [f"item {item} is returned and its deferral still open" for (item,) in rows(STILL_DEFERRED)]
    live = rows("select portal_id, task_id from defer_deferral where state = 'sleeping'")
    return found + [f"task {task}: {number} live deferrals" for task, number in Counter(live).items() if number > 1]


def of_portal(sandbox, key, items, live, late):
    """Compare the items and the live deferrals of one portal with its log."""
    found = []
    changes, statuses = sandbox.truth(key), sandbox.states(key)
    ran = successes(sandbox, key) - late
    for task in sorted({item.task for item in items}):
        own = [item for item in items if item.task == task]
        history = [change for change in changes if change["task"] == task]
        found += of_task(key, task, statuses.get(task), own, history, ran)
        if task in statuses and history and history[-1]["method"] in APP_METHODS:
            found += of_ledger(f"{key} task {task}", history, live.get(task), {item.code for item in own})
    return found


def of_task(key, task, status, items, history, ran):
    """Compare all items of one task with the task's history."""
    ours = [change for change in history if change["method"] in APP_METHODS]
    others = len(history) - len(ours)
    deferred = [change for change in ours if change["after"] == 6]
    renewed = [change for change in ours if change["method"] == "tasks.task.renew"]
    done = [item for item in items if item.state == "done" and item.kind == "defer"]
    returned = [item for item in items if item.state == "done" and item.kind == "return"]
    name = f"{key} task {task}"
    found = [f"{name}: item {item.id} ended as {item.state}" for item in items if item.state not in TERMINAL]
    if len(done) > len(deferred):
        found.append(f"{name}: {len(done)} items say done, it was deferred {len(deferred)} times")
    if len(returned) > len(renewed):
        found.append(f"{name}: {len(returned)} items say returned, it was renewed {len(renewed)} times")
    # If another user changes the task before we read it, the item reports the status that they set.
    standing = deferred if not others else [change for change in deferred if change is history[-1]]
    if len(standing) > len(done):
        found.append(f"{name}: deferred {len(standing)} times, {len(done)} items say so")
    if len(deferred) > 1 + others + len(renewed):
        found.append(f"{name}: deferred {len(deferred)} times")
    found += [f"{name}: a task in status {c['before']} was renewed" for c in renewed if c["before"] != 6]
    # The app may have read two items before it acted on either.
    often = [(method, ran[method, task]) for method in APP_METHODS[:2]]
    found += [f"{name}: {method} ran {number} times" for method, number in often if number > len(items) + others]
    people = {item.person for item in items}
    found += [f"{name}: {c['method']} with the token of {c['person']}" for c in ours if c["person"] not in people]
    if not history or history[-1] in ours:
        found += misreported(name, status, last_to_act(items, history), bool(done))
    return found


def of_ledger(name, history, live, codes):
    """Check that the live deferral of a task that we changed last lets Undo restore the earlier status."""
    last = history[-1]
    if last["after"] != 6:
        return []
    if live is None:
        return [f"{name}: deferred by us without a live deferral"]
    original = {last["before"]}
    for change in history[-2:-1]:
        if change["method"] == APP_METHODS[0] and change["person"] == last["person"]:
            # After the outcome left_paused a person may start another job. Then paused is the earlier status.
            original = {change["before"]} | (original if "left_paused" in codes else set())
    return [] if live.before in original else [f"{name}: was {original}, and would be returned to {live.before}"]


def last_to_act(items, history):
    """The item that made the last change. Jobs end in any order, so a return may precede a deferral.

    An item that was cancelled before the app sent anything is ignored if there are others.
    """
    items = [item for item in items if item.state != "cancelled"] or items
    kinds = {item.kind for item in items}
    if len(kinds) == 1 or not history:
        return items[-1]
    methods = [change["method"].rpartition(".")[2] for change in history[-2:]]
    is_return = methods[-1] == "renew" or methods == ["renew", "start"]
    kind = "return" if is_return else "defer"
    return [item for item in items if item.kind == kind][-1]


def misreported(name, status, last, was_deferred):
    """How the last outcome contradicts the task's status. Call it only if no other user changed the task since."""
    if last.code == "gone":
        return [] if status is None else [f"{name}: reported gone, is {status}"]
    expected = expected_status(last)
    if expected is not None and status not in (expected, None):
        return [f"{name}: reported {last.state} {last.code} by a {last.kind}, is {status}"]
    if last.kind == "defer" and last.state == "failed" and status == 6 and not was_deferred:
        return [f"{name}: reported failed {last.code}, is deferred"]
    was_paused = last.kind == "defer" and last.before == 3 and last.state in ("failed", "skipped", "cancelled")
    if was_paused and status == 2 and last.code != "left_paused":
        return [f"{name}: left paused, reported as {last.state} {last.code}"]
    return []


def expected_status(item):
    """The status that this outcome implies for the task; None if it implies none."""
    if item.code in STATUS_OF:
        return STATUS_OF[item.code]
    if item.kind == "defer":
        return 6 if item.state == "done" else None
    if item.state == "done":
        return 3 if item.before == 3 else 2
    return 6 if item.state in ("failed", "cancelled") else None


def successes(sandbox, key):
    """How often the portal ran each act on each task without an error, also if the status stayed."""
    return Counter(
        (method, int(params["taskId"]))
        for request in sandbox.requests(key)
        for _, method, params, code in request["commands"]
        if method in APP_METHODS and not code
    )


# -- Secrets ---------------------------------------------------------------------------------------------------


def secrets_of(sandbox):
    """Every token that the sandbox ever issued, the application tokens, and the client secret."""
    with closing(sqlite3.connect(sandbox.log.parent / "sandbox.sqlite3", timeout=20)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        token = next(name for name in tables if name.endswith("_token"))
        installation = next(name for name in tables if name.endswith("_installation"))
        pairs = connection.execute(f"select access, refresh from {token}").fetchall()
        application = connection.execute(f"select application_token from {installation}").fetchall()
    return {text for row in (*pairs, *application) for text in row if text} | {sandbox.client_secret}


def leaks(secrets, places):
    """Which of `places` (name -> text) hold a secret, in the clear or inside a message's base64."""
    found = []
    for name, text in places.items():
        whole = f"{text}\n{unwrapped(text)}"
        found += [f"{name} holds a secret" for secret in secrets if secret in whole][:1]
    return found


def unwrapped(text):
    """The bodies of Celery's messages in `text`, decoded."""
    bodies = set(re.findall(r'\\*"body\\*": ?\\*"([A-Za-z0-9+/=]{8,})', text))
    return "\n".join(base64.b64decode(body[: len(body) // 4 * 4]).decode(errors="replace") for body in bodies)


def journal(rows):
    """The journal as text."""
    return "\n".join(
        json.dumps(row, default=str) for row in rows("select method, params, outcome, code from defer_restcall")
    )
