"""The engine in the test's process: the test calls the slices, and moves the clock instead of waiting.

engine = Engine(sandbox)
job = engine.defer(person, engine.tasks(person, 20))
engine.work()  # until no work is left, then ask the oracle; engine.waited has the seconds waited
"""

from collections import Counter

from django.db import connection

from tests.faults import oracle

STEPS = 400


class Engine:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.waited = 0.0
        self.late = Counter()  # commands that a test let arrive late: see oracle.violations

    def tasks(self, person, count, **fields):
        fields = {"creator": person.user_id, "status": 3, **fields}
        portals = {portal["member_id"]: portal["key"] for portal in self.sandbox.control("portals")}
        return self.sandbox.tasks(portals[person.portal.member_id], count=count, **fields)

    def defer(self, person, tasks, key=None):
        from b24app.engine import jobs, selections

        selection = selections.select_ticked(person, tasks)
        return jobs.start(person, selection, "", key or f"key-{selection.pk}")

    def wait(self, seconds):
        """Move the clock of the app and of the portals forward."""
        self.waited += seconds
        self.sandbox.move_clock(self.waited)

    def slice(self, person):
        """Run one slice; return the seconds until the next one, or None if there is none."""
        from b24app import clock
        from b24app.engine import slices
        from b24app.models import Portal

        seconds = slices.run(person.portal_id)
        parked_until = Portal.objects.values_list("parked_until", flat=True).get(pk=person.portal_id)
        if seconds is None and parked_until:  # the sweep would send the message
            return (parked_until - clock.now()).total_seconds()
        return seconds

    def work(self, *people, until=None):
        """Run slices for these people's portals until no work is left or `until` holds, then ask the oracle."""
        for _ in range(STEPS):
            pending = [seconds for person in people if (seconds := self.slice(person)) is not None]
            if until and until():
                return
            if not pending:
                break
            if min(pending) > 0:
                self.wait(min(pending) + 0.01)
        else:
            raise AssertionError("the work does not end")
        violations = oracle.violations(self.sandbox, rows, self.late)
        assert not violations, "\n".join(violations)
        assert oracle.leaks(oracle.secrets_of(self.sandbox), {"journal": oracle.journal(rows)}) == []


def outcomes(job):
    return Counter(job.items.values_list("state", "code"))


def rows(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()
