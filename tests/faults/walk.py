"""A seeded random walk: several people, shared tasks and every fault that the sandbox offers, in one process.

The seed determines the jobs and the faults. At the end all faults are gone, every person has opened the
app again, and the oracle checks the result. A test moves the clock, also that of the stopwatch.

    WALK_FIRST=153 WALK_SEEDS=1 WALK_STEPS=40 python -m pytest tests/faults/test_walk.py
"""

import os
import random
from collections import Counter, deque
from dataclasses import replace

from b24app import clock
from b24app.bitrix import stopwatch, tasks
from b24app.bitrix.errors import BitrixError
from b24app.bitrix.payloads import Event
from b24app.engine import jobs, slices
from b24app.models import Credential, Job, JobItem, Portal, SelectedTask, Selection
from b24app.portals import uninstall
from b24app.portals.lease import Lease, LeaseLost

FIRST = int(os.environ.get("WALK_FIRST", "1"))
SEEDS = int(os.environ.get("WALK_SEEDS", "40"))
STEPS = int(os.environ.get("WALK_STEPS", "24"))  # of one walk
HTML = {"status": 502, "body": "<html>Bad gateway</html>", "type": "text/html"}
REFUSALS = ["1048582", "1048584", "0"]
ACTS = ["pause", "defer", "defer", "start", "renew"]
ANSWERS = [
    ("batch", {"kind": "drop"}),
    ("batch", {"kind": "cut"}),
    ("batch", {"kind": "truncate"}),
    ("batch", {"kind": "replace", **HTML}),
    ("batch", {"kind": "error", "code": "QUERY_LIMIT_EXCEEDED", "status": 503}),
    ("batch", {"kind": "error_after", "code": "INTERNAL_SERVER_ERROR", "status": 500}),
    ("batch/*", {"kind": "cut"}),
    ("batch/*", {"kind": "error", "code": "OPERATION_TIME_LIMIT", "status": 429}),
    ("tasks.task.list", {"kind": "respond", **HTML}),
    ("tasks.task.list", {"kind": "drop"}),
    ("tasks.task.list", {"kind": "error", "code": "expired_token", "status": 401}),
    ("oauth/token", {"kind": "respond", **HTML}),
    ("oauth/token", {"kind": "drop"}),
]


class Walk:
    """One seed's walk. `story` says what happened so far."""

    def __init__(self, engine, open_as, monkeypatch, seed):
        self.engine, self.sandbox, self.open_as = engine, engine.sandbox, open_as
        self.dice = random.Random(seed)
        self.story = []
        self._install()
        self.access, self.frozen = Access(self), FrozenWorkers(self, monkeypatch)
        read = stopwatch.now
        monkeypatch.setattr(stopwatch, "now", lambda: read() + engine.waited)
        monkeypatch.setattr(engine, "wait", self.wait)

    def _install(self):
        """Bob and Ann share tasks that Eve has created; both have opened the app."""
        users = [("user", {"portal": "acme", "name": name}) for name in ("Eve", "Bob", "Ann")]
        eve, bob, ann = self.sandbox.many(*users)
        status = self.dice.choices([3, 2, 1, 6], weights=[8, 3, 1, 1], k=8)
        wanted = [{"status": each, "creator": eve, "responsible": bob, "accomplices": [ann]} for each in status]
        self.token = self.sandbox.install("acme")["application_token"]
        self.tasks = self.sandbox.tasks("acme", wanted)
        self.sandbox.settings(limits__bucket=False)
        self.people = [self.open_as("acme", number) for number in (bob, ann)]
        self.portal = self.people[0].portal
        self.portal.learn_application_token(self.token, clock.now())
        self.portal.save()

    def wait(self, seconds):
        """Let time pass for the app and for the portal: they read the same file."""
        self.engine.waited += seconds
        self.sandbox.clock_file.write_text(str(self.engine.waited))

    # -- What happens ------------------------------------------------------------------------------------------

    def run(self):
        """Take all steps, then let everything come to its end. Raises AssertionError with the story."""
        work = [self.work] * 12
        people = [self.ask] * 4 + [self.stop, self.undo, self.undo, self.retry, self.go_on, self.change]
        faults = [self.answer] * 4 + [self.refuse] * 4 + [self.freeze] * 3
        access = [self.access.expire, self.access.refresh, self.access.revoke, self.access.reopen, self.access.forge]
        self.ask()
        try:
            for _ in range(STEPS):
                self.wait(1.1)  # a portal's times have whole seconds
                self.dice.choice(work + people + faults + access)()
            self.finish()
        except AssertionError as error:
            error.args = ("\n".join([str(error), *self.story]),)
            raise

    def finish(self):
        self.tell("all faults end")
        self.frozen.planned.clear()
        self.sandbox.clear_faults()
        self.wait(60)  # until the portal's bucket has room
        for person in self.people:
            self.access.open(person)
        uninstall.confirm(self.portal.pk)
        self.engine.work(*self.people[:1])

    def tell(self, *words):
        self.story.append(f"{self.engine.waited:7.1f} {' '.join(map(str, words))}")

    def work(self):
        """A slice, after some time."""
        self.wait(self.dice.choice([0, 0, 5, 20, 40, 76, 100]))
        self.tell("slice says", slices.run(self.portal.pk))

    # -- People ------------------------------------------------------------------------------------------------

    def ask(self):
        person = self.dice.choice(self.people)
        chosen = self.dice.sample(self.tasks, self.dice.choice([1, 2, 4, 6]))
        selection = Selection.objects.create(person=person, state=Selection.State.READY, created_at=clock.now())
        SelectedTask.objects.bulk_create(SelectedTask(selection=selection, task_id=task, status=3) for task in chosen)
        self._ask(lambda: jobs.start(person, selection, "", f"{selection.pk}"), person.user_id, "defers", chosen)

    def _ask(self, start, *words):
        try:
            self.tell(*words, "in", start())
        except (jobs.NotReady, jobs.TooManyJobs) as error:
            self.tell(*words, "in vain:", type(error).__name__)

    def _job(self, **wanted):
        found = list(Job.objects.filter(**wanted).order_by("pk"))
        return self.dice.choice(found) if found else None

    def stop(self):
        if job := self._job():
            jobs.stop(job)
            self.tell(job, "is stopped")

    def undo(self):
        if job := self._job(kind=Job.Kind.DEFER):
            self._ask(lambda: jobs.undo(job, f"undo {job.pk} {self.dice.random()}"), job, "is undone")

    def retry(self):
        self._again(JobItem.State.FAILED)

    def go_on(self):
        self._again(JobItem.State.CANCELLED)

    def _again(self, state):
        if job := self._job(state=Job.State.FINISHED):
            self._ask(lambda: jobs.retry(job, [state], f"again {job.pk} {self.dice.random()}"), job, "again:", state)

    def change(self):
        """Eve changes a task by hand, or deletes it."""
        task = self.dice.choice(self.tasks)
        status = self.dice.choice([2, 3, 3, 5, 6])
        states = self.sandbox.states("acme", [task])
        if task in states and states[task] != status:
            self.tell("Eve makes task", task, status)
            self.sandbox.change_task("acme", task, status=status)

    # -- Faults ------------------------------------------------------------------------------------------------

    def answer(self):
        self._fault(*self.dice.choice(ANSWERS))

    def refuse(self):
        """The portal refuses acts, before or after it did them."""
        kind = self.dice.choice(["error", "error_after", "error_after"])
        self._fault(f"tasks.task.{self.dice.choice(ACTS)}", {"kind": kind, "code": self.dice.choice(REFUSALS)})

    def _fault(self, method, fault):
        fault = {"times": self.dice.choice([1, 1, 2, 3]), "skip": self.dice.randrange(3), **fault}
        self.tell("fault", method, fault)
        self.sandbox.fault(method, **fault)

    def freeze(self):
        self.frozen.plan(self.dice.choice(["before", "after", "late"]))


class Access:
    """What happens to tokens, and to the app at the portal."""

    def __init__(self, walk):
        self.walk = walk

    def expire(self):
        self.walk.tell("the portal forgets access tokens")
        self.walk.sandbox.expire("acme")

    def refresh(self):
        self.walk.tell("the app finds its tokens expired")
        Credential.objects.update(expires_at=clock.now())

    def revoke(self):
        person = self.walk.dice.choice(self.walk.people)
        self.walk.tell("revoked:", person.user_id)
        self.walk.sandbox.revoke("acme", user=person.user_id)

    def reopen(self):
        self.open(self.walk.dice.choice(self.walk.people))

    def open(self, person):
        self.walk.tell(person.user_id, "opens the app")
        try:
            self.walk.open_as("acme", person.user_id)
        except BitrixError as error:
            self.walk.tell("in vain:", error)
            return
        jobs.resume_waiting(person)

    def forge(self):
        """A forger reports an uninstall. The authorization server refutes it, unless it is away."""
        token = self.walk.dice.choice([self.walk.token, self.walk.token, "wrong"])
        data = {"CLEAN": self.walk.dice.choice("01")}
        self.walk.tell("a forged uninstall with", "the wrong token" if token == "wrong" else "the right token", data)
        if uninstall.report(Event("ONAPPUNINSTALL", self.walk.portal.member_id, token, data)):
            self.walk.wait(self.walk.dice.choice([1, 60]))
            uninstall.confirm(self.walk.portal.pk)


class FrozenWorkers:
    """Workers that freeze between their claim and the end of their request, so that another one takes over."""

    def __init__(self, walk, monkeypatch):
        self.walk, self.planned, self.send_now = walk, deque(), tasks.send
        monkeypatch.setattr(tasks, "send", self.send)

    def plan(self, how):
        """The next worker that sends freezes before the send, after it, or with its bytes under way ("late")."""
        self.planned.append(how)

    def send(self, client, acts):
        """Instead of tasks.send."""
        acts = list(acts)
        how = self.planned.popleft() if self.planned else ""
        if how:
            self.walk.tell("frozen", how, "sending", words(acts))
        if how == "before":
            self.take_over(self.walk.dice.choice([1, 2, 8]))
        elif how == "late":
            self.take_over(1)
            self.deliver(client, acts)
        answers = self.send_now(client, acts)
        if how == "after":
            Portal.objects.update(lease_until=None)
        self.walk.tell("sent", {f"{act.value}{task}": type(answer).__name__ for (task, act), answer in answers.items()})
        return answers

    def take_over(self, steps):
        """Another worker finds the lease free, and works."""
        Portal.objects.update(lease_until=None)
        self.walk.wait(95)
        lease = Lease.acquire(self.walk.portal.pk)
        try:
            while lease and steps and slices._do_next(lease):
                steps -= 1
        except LeaseLost:
            self.walk.tell("the other worker lost its lease too")
        finally:
            if lease:
                lease.release()
        Portal.objects.update(lease_until=None)

    def deliver(self, client, acts):
        """The frozen worker's bytes arrive after all, for items whose outcome is open."""
        waiting = set(JobItem.objects.under_way().filter(sends__gt=0).values_list("task_id", flat=True))
        acts = [(task, act) for task, act in acts if task in waiting]
        if not acts:
            return
        self.walk.tell("late:", words(acts))
        self.walk.engine.late += Counter((act.method, task) for task, act in acts)
        try:
            self.send_now(replace(client, before=lambda: None, after=lambda _: None, begun_at=None), acts)
        except BitrixError as error:
            self.walk.tell("late:", error)


def words(acts):
    """The acts in short: ["pause7", "defer7"]."""
    return [f"{act.value}{task}" for task, act in acts]
