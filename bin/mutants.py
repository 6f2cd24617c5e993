#!/usr/bin/env python3
"""Mutation tests: remove twelve guards, one at a time, in a copy of the project. Each time a named test must fail.

The run fails if a patch no longer applies, if a test fails without a patch, or if a test passes without its guard.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("b24app", "bin", "locale", "static", "templates", "tests")
FILES = ("manage.py", "pyproject.toml", "gunicorn.conf.py", ".env.example", "README.md", "Makefile")
TIMEOUT = 300  # seconds for one test


@dataclass(frozen=True)
class Mutant:
    """A guard, the file and the text that implement it, the text without it, and the test that must fail then."""

    guard: str
    file: str
    text: str
    instead: str
    test: str


MUTANTS = [
    Mutant(
        "write-ahead commit",
        "b24app/engine/saving.py",
        "            state=State.SENT,\n            sent_at=shared_now(),",
        "            sent_at=shared_now(),",
        "tests/faults/test_guards.py::test_the_intent_is_committed_first",
    ),
    Mutant(
        "version check",
        "b24app/portals/credentials.py",
        "    saved = Credential.objects.filter(pk=credential.pk, version=credential.version).update(",
        "    saved = Credential.objects.filter(pk=credential.pk).update(",
        "tests/flows/test_refresh.py::test_an_opening_during_a_refresh_wins[sqlite+filesystem]",
    ),
    Mutant(
        "fence",
        "b24app/portals/lease.py",
        "            lease_owner=self.owner,\n            lease_fence=self.fence,\n            lease_until__gt",
        "            lease_until__gt",
        "tests/engine/test_slices.py::test_a_lost_lease_writes_nothing",
    ),
    Mutant(
        "status re-read",
        "b24app/engine/choosing.py",
        "state=JobItem.State.PENDING, seen_at__gt=fresh_since)",
        "state=JobItem.State.PENDING, seen_at__isnull=False)",
        "tests/faults/test_guards.py::test_an_old_status_is_read_again",
    ),
    Mutant(
        "settle delay",
        "b24app/engine/choosing.py",
        "    silent_since = shared_now() - timedelta(seconds=settings.ENGINE_SETTLE_AFTER)",
        "    silent_since = shared_now()",
        "tests/faults/test_answers.py::test_f15_f20_an_unreadable_answer_is_settled[f15-504]",
    ),
    Mutant(
        "step",
        "b24app/engine/deferring.py",
        "        item.step = Step.PAUSED\n    else:\n        item.status_before = Status.PENDING",
        "        pass\n    else:\n        item.status_before = Status.PENDING",
        "tests/engine/test_slices.py::test_a_paused_task_is_started_if_defer_fails",
    ),
    Mutant(
        "due index",
        "b24app/migrations/0001_initial.py",
        "condition=models.Q(('state', 'finished'), _negated=True), fields=['portal', 'last_slice_at']",
        "condition=models.Q(('state', 'nothing')), fields=['portal', 'last_slice_at']",
        "tests/faults/test_guards.py::test_due_jobs_are_found_by_an_index[postgres+redis]",
    ),
    Mutant(
        "constant-time compare",
        "b24app/models/portal.py",
        "compare_digest(secret.encode(), token.encode())",
        "secret.encode() == token.encode()",
        "tests/faults/test_guards.py::test_the_token_compare_takes_constant_time",
    ),
    Mutant(
        "idempotency key",
        "b24app/engine/jobs.py",
        "person=person, kind=Job.Kind.DEFER, key=key, digest=digest",
        "person=person, kind=Job.Kind.DEFER, key=clock.now().isoformat(), digest=digest",
        "tests/engine/test_jobs.py::test_the_same_request_twice_is_one_job",
    ),
    Mutant(
        "host check",
        "b24app/bitrix/http.py",
        "return self.local or addresses.is_public(ip) or any(ip in network for network in self.networks)",
        "return True",
        "tests/bitrix/test_http.py::test_private_addresses_are_refused",
    ),
    Mutant(
        "epoch",
        "b24app/portals/people.py",
        "portal_id=portal_id, portal__epoch=epoch,",
        "portal_id=portal_id,",
        "tests/web/test_tickets.py::test_lost_access_ends_a_ticket",
    ),
    Mutant(
        "sweeper",
        "b24app/worker/messages.py",
        "    for portal_id in queue.portals_with_work():\n        enqueue(portal_id)\n",
        "",
        "tests/faults/test_guards.py::test_a_sweep_enqueues_portals_with_work",
    ),
]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="defer-mutants-") as directory:
        copy = Path(directory)
        copy_project(copy)
        print("Running the tests without a change …", flush=True)
        red = [mutant.test for mutant in MUTANTS if not passes(copy, [mutant.test])]
        if red:
            sys.exit("These tests fail without a change, so they prove nothing:\n" + "\n".join(red))
        survivors = [mutant.guard for mutant in MUTANTS if not is_missed(copy, mutant)]
    if survivors:
        sys.exit(f"No test failed without: {', '.join(survivors)}.")
    print(f"All {len(MUTANTS)} guards are tested.")


def copy_project(to: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, to / name)


def is_missed(copy: Path, mutant: Mutant) -> bool:
    """True if the test of the mutant fails without the guard. Prints one row of the table."""
    started = time.monotonic()
    with without_guard(copy / mutant.file, mutant):
        missed = not passes(copy, [mutant.test])
    took = time.monotonic() - started
    print(f"{mutant.guard:24}{'red' if missed else 'GREEN':8}{took:4.0f} s  {mutant.test}", flush=True)
    return missed


@contextmanager
def without_guard(path: Path, mutant: Mutant) -> Iterator[None]:
    """Remove the guard from the file inside the block. Exits if the patch does not apply."""
    whole = path.read_text()
    if whole.count(mutant.text) != 1:
        sys.exit(f"{mutant.guard}: {mutant.file} contains its text {whole.count(mutant.text)} times, not once.")
    path.write_text(whole.replace(mutant.text, mutant.instead))
    try:
        yield
    finally:
        path.write_text(whole)


def passes(copy: Path, tests: Sequence[str]) -> bool:
    """True if these tests pass. Exits if they could not run: an error or a skipped test proves nothing."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, timeout=TIMEOUT * len(tests))
    if done.returncode not in (0, 1) or " error" in done.stdout.splitlines()[-1] or " skipped" in done.stdout:
        sys.exit(f"The tests could not be run:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


if __name__ == "__main__":
    main()
