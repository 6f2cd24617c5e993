"""The engine: short slices of work, at most one at a time per portal.

A step is one thing to do for one job: read what became of tasks, or send changes. Each step commits what it is
about to send, calls the portal outside of any transaction, and saves what came of it under the lease's fence.
An answer that was lost is settled by reading, never by guessing or repeating.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, Min, Q, When
from django.db.models.functions import Coalesce

from b24app import credentials, dates, deferrals, failpoints, refusals, selections, steps
from b24app.bitrix import limits, tasks
from b24app.bitrix.client import Answer, Client
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    Denied,
    Expired,
    NoSuchMethod,
    NotRun,
    OperatingLimit,
    TooManyRequests,
)
from b24app.bitrix.tasks import Act, TaskState
from b24app.models import Job, JobItem, Lease, LeaseLost, PendingOpening, Portal, RestCall, Selection

logger = logging.getLogger(__name__)

SLICE_SECONDS = 10.0  # a slice begins no new step after so long
RENEWALS = 3  # in a row, that the portal did not take; then the person has to come back
LONGEST_WAIT = 3600.0  # waits double with every setback up to this
JOURNAL_LIFE = timedelta(days=7)

State, Step = JobItem.State, JobItem.Step
SAVED_FIELDS = [
    *("title", "state", "step", "status_seen", "seen_at", "status_before", "sends", "directly"),
    *("refusal", "code", "vendor_code", "changed_at"),
]


# -- What is to do ------------------------------------------------------------------------------------


def portals_with_work() -> list[int]:
    """The portals that a slice could do something for now, longest neglected first."""
    now = dates.now()
    of_jobs = Job.objects.runnable(now).exclude(portal__parked_until__gt=now).values("portal")
    of_selections = selections.collecting(now).values("person__portal")
    # Two short lists made one: with an OR the database would look at every portal.
    waiting = Portal.objects.filter(Lease.free(), pk__in=of_jobs.union(of_selections), status=Portal.Status.ACTIVE)
    return list(waiting.order_by(F("last_slice_at").asc(nulls_first=True)).values_list("pk", flat=True))


def _not_parked(now: datetime) -> Q:
    """Portals whose jobs may ask, as a condition. What somebody waits for at a page asks in any case."""
    return Q(parked_until=None) | Q(parked_until__lte=now)


def seconds_until_work(portal_id: int) -> float | None:
    """When a slice should look at this portal again: 0 for at once, None when nothing is to be expected."""
    now = dates.now()
    jobs = Job.objects.filter(portal=portal_id)
    of_portal = Selection.objects.filter(person__portal=portal_id, state=Selection.State.COLLECTING)
    if selections.collecting(now).filter(pk__in=of_portal).exists():
        return 0.0
    if not Portal.objects.filter(_not_parked(now), pk=portal_id).exists():
        return None  # the sweep looks again when its time has come
    if jobs.runnable(now).exists():
        return 0.0
    job_at = jobs.filter(state=Job.State.WAITING, waiting_until__gt=now).aggregate(at=Min("waiting_until"))
    selection_at = of_portal.filter(try_at__gt=now).aggregate(at=Min("try_at"))
    moments = [found["at"] for found in (job_at, selection_at) if found["at"]]
    return float((min(moments) - now).total_seconds()) if moments else None


def claim_hint(portal_id: int, seconds: float) -> bool:
    """Whether to send a message about this portal for in `seconds`: not while one is under way that is due by then.

    One that should have been read long ago is taken for lost.
    """
    now = dates.now()
    due = now + timedelta(seconds=seconds)
    lost = Q(hint_due_at__lte=now - timedelta(seconds=settings.HINT_LIFE))
    free = Portal.objects.filter(Q(hint_due_at=None) | Q(hint_due_at__gt=due) | lost, pk=portal_id)
    return free.update(hint_due_at=due) == 1


def note_hint_read(portal_id: int) -> None:
    """A message about this portal has been read: the next may be sent. One that is due later stays under way."""
    early = timedelta(seconds=1)  # clocks differ a little
    give_up = Portal.objects.filter(pk=portal_id, hint_due_at__lte=dates.now() + early)
    give_up.update(hint_due_at=None)


def give_hint_up(portal_id: int) -> None:
    """No message about this portal could be sent."""
    Portal.objects.filter(pk=portal_id).update(hint_due_at=None)


def forget_expired() -> None:
    """Delete what is kept for a time only: the journal, selections, openings that nobody came back for."""
    now = dates.now()
    RestCall.objects.filter(at__lt=now - JOURNAL_LIFE).delete()
    Selection.objects.filter(created_at__lt=now - 2 * selections.LIFE).delete()
    PendingOpening.objects.filter(expires_at__lt=now).delete()


# -- A slice ------------------------------------------------------------------------------------------


def run(portal_id: int) -> bool:
    """Work on one portal for about SLICE_SECONDS, unless another slice is at it; say whether we were.

    May be called any number of times, by any number of workers: the lease lets one in. Waiting is written on
    the job and never slept here.
    """
    lease = Lease.take(portal_id)
    if lease is None:
        return False
    started = time.monotonic()
    try:
        while _run_step(lease) and time.monotonic() - started < SLICE_SECONDS:
            pass
    except LeaseLost:
        logger.warning("portal %s: the lease was lost; another slice goes on", portal_id)
    finally:
        lease.release()
    return True


def _run_step(lease: Lease) -> bool:
    """Do the next thing: a selection that somebody waits for, then the job that was left alone longest."""
    now = dates.now()
    collecting = selections.collecting(now).filter(person__portal=lease.portal_id)
    runnable = Job.objects.runnable(now).filter(~Exists(collecting), portal=lease.portal_id)
    jobs = runnable.exclude(portal__parked_until__gt=now).select_related("person__portal")
    if job := jobs.order_by(F("last_slice_at").asc(nulls_first=True), "id").first():
        _advance(job, lease)
        return True
    if selection := collecting.select_related("person__portal").order_by("created_at").first():
        selections.advance(selection, lease)
        return True
    return False


def _advance(job: Job, lease: Lease) -> None:
    """One step of one job; whatever stops it is written on the job, with the time to try again."""
    if job.stop_asked_at and deferrals.wind_up(job, lease):
        return
    try:
        credentials.act(job.person, lease, job.pk, lambda client: JobStep(job, client, lease).run())
    except LeaseLost:
        raise
    except CredentialRefused as error:
        _wait(job, lease, Job.Why.PERSON, error.code, None)
    except AccessLost as error:
        logger.warning("job %s: the portal refuses the app (%s)", job.pk, error.code)
        with transaction.atomic():
            lease.renew()
            refusals.note(job.person, error)
    except BitrixError as error:
        if isinstance(error, Expired) and job.setbacks >= RENEWALS:
            credentials.give_up(job.person)
            error = CredentialRefused(error.code)
        _wait(job, lease, *_reason_to_wait(job, error))
    except Exception:
        # A job that we cannot work on must neither stop the others of its portal nor come round at once.
        logger.exception("job %s cannot go on", job.pk)
        _wait(job, lease, Job.Why.ERROR, "internal", _backoff(job, 60.0))


def _reason_to_wait(job: Job, error: BitrixError) -> tuple[Job.Why, str, float]:
    """Why a job waits after an error that passes by itself, the vendor's word for it, and for how many seconds."""
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        return Job.Why.LIMIT, error.code, error.delay
    if isinstance(error, Expired) and not job.setbacks:
        return Job.Why.PORTAL, error.code, 0.0  # the token is renewed by the next step
    return Job.Why.PORTAL, error.code, max(_backoff(job, 5.0), getattr(error, "delay", 0.0))


def _backoff(job: Job, seconds: float) -> float:
    scale: float = settings.TIME_SCALE
    return min(LONGEST_WAIT, seconds * 2.0**job.setbacks) / scale


def _wait(job: Job, lease: Lease, why: Job.Why, code: str, seconds: float | None) -> None:
    now = dates.now()
    with transaction.atomic():
        lease.renew()
        Job.objects.unfinished().filter(pk=job.pk).update(
            state=Job.State.WAITING,
            waiting_why=why,
            waiting_code=code[:100],
            waiting_until=None if seconds is None else now + timedelta(seconds=seconds),
            setbacks=F("setbacks") + 1,
            last_slice_at=now,
        )


# -- A step of a job ----------------------------------------------------------------------------------


class Turn(IntEnum):
    """What items wait for, in the order of precedence."""

    SETTLE = 1
    SEND = 2
    READ = 3


@dataclass(frozen=True)
class JobStep:
    """One step of a job, with the client that acts for the person who asked for it."""

    job: Job
    client: Client
    lease: Lease

    def run(self) -> None:
        """Settle what can be settled, else send what was read, else read on, else finish or wait for answers."""
        turn, items = self._next_items()
        if turn == Turn.SEND:
            self._send(self._fitting(items))
        elif items:
            self._read(items)
        else:
            self._finish_or_wait()

    # Which items

    def _next_items(self) -> tuple["Turn", list[JobItem]]:
        """The items whose turn it is, and for what; half-done ones first. One query.

        Refused items are read at once, lost ones when the portal must be through with them; pending ones are sent
        when their status was read recently.
        """
        now = dates.now()
        silent_since = now - timedelta(seconds=settings.SETTLE_AFTER)
        fresh_since = now - timedelta(seconds=settings.STATUS_IS_FRESH)
        is_due = Q(~Q(refusal="") | Q(sent_at__lte=silent_since), state=State.SENT)
        is_fresh = Q(state=State.PENDING, seen_at__gt=fresh_since)
        turn = Case(When(is_due, then=Turn.SETTLE), When(is_fresh, then=Turn.SEND), default=Turn.READ)
        is_untouched = Case(When(step=Step.NONE, then=1), default=0)
        waiting = self.job.items.filter(is_due | Q(state=State.PENDING)).annotate(turn=turn)
        items = list(waiting.order_by("turn", is_untouched, "id")[: tasks.PAGE_SIZE])
        first = Turn(items[0].turn) if items else Turn.READ
        return first, [item for item in items if item.turn == first]

    def _fitting(self, items: Sequence[JobItem]) -> list[JobItem]:
        """The first of `items` that fit into one batch, by count, time, and what the portal lets us execute."""
        portal = self.job.person.portal
        is_first = self.job.last_slice_at is None or not self.job.settled
        places = limits.commands_that_fit(portal.seconds_per_command, is_first)
        fitting: list[JobItem] = []
        for item in items:
            places -= len(steps.acts_for(item))
            if places < 0:
                break
            fitting.append(item)
        return fitting[: self._operating_allows(portal)] if fitting else []

    def _operating_allows(self, portal: Portal) -> int:
        """How many tasks the operating time of defer lets us send. Raises OperatingLimit when it is none.

        Only defer's budget counts: a task must not be paused when it cannot be deferred.
        """
        used, reset_at = portal.operating.get(Act.DEFER.method, (0.0, 0.0))
        now = dates.now().timestamp()
        left = limits.operating_left(used, reset_at, now)
        allowed = int(left / (portal.seconds_per_command or 0.01))
        if allowed < 1:
            raise OperatingLimit("own_limit", delay=max(1.0, reset_at - now + 1))
        return allowed

    # Reading

    def _read(self, items: Sequence[JobItem]) -> None:
        """Read what these tasks are now and move their items accordingly."""
        now = dates.now()
        user_id = self.job.person.user_id
        found = tasks.read_states(self.client, [item.task_id for item in items])
        refused_directly = [item for item in items if steps.is_refused_directly(item, found.get(item.task_id))]
        for item in items:
            task = found.get(item.task_id)
            steps.take_reading(item, task, user_id)
            item.title = task.title[:300] if task else item.title
            item.seen_at = now
        if refused_directly:
            self._learn_from_refusals(refused_directly, items)
        self._ask_what_may_be_paused(items, found)
        self._save(items, [(item, found[item.task_id]) for item in items if item.state == State.DONE])

    def _ask_what_may_be_paused(self, items: Sequence[JobItem], found: dict[int, TaskState]) -> None:
        """Who is no participant may be allowed to pause a task and then not to defer it: ask before pausing.

        The first task of a portal that we do not know yet is asked for too: it may be one that defers directly.
        """
        pending = [item for item in items if item.state == State.PENDING and item.step == Step.NONE]
        self._choose_paths(pending)
        to_pause = {item.task_id: item for item in pending if Act.PAUSE in steps.acts_for(item)}
        foreign = [id for id in to_pause if self.job.person.user_id not in found[id].participants]
        unknown = list(to_pause)[:1] if self.portal.defers_directly is None else []
        access = tasks.read_access(self.client, ids) if (ids := list(dict.fromkeys(foreign + unknown))) else {}
        if access:
            self._learn_from_access(access.values())
            self._choose_paths(pending)
        for id in foreign:
            if Act.PAUSE in steps.acts_for(to_pause[id]) and not {"PAUSE", "EDIT"} <= access[id]:
                to_pause[id].state, to_pause[id].code = State.FAILED, JobItem.Code.NOT_PERMITTED

    # Whether the portal defers a task in progress without a pause

    @property
    def portal(self) -> Portal:
        return self.job.person.portal

    def _choose_paths(self, items: Sequence[JobItem]) -> None:
        for item in items:
            item.directly = self.portal.defers_directly is True and item.status_seen == tasks.IN_PROGRESS

    def _learn_from_access(self, access: Iterable[frozenset[str]]) -> None:
        """What a person may do with tasks in progress: DEFER among it is there only where no pause is needed."""
        if any("DEFER" in allowed for allowed in access):
            self._learn(directly=True)
        elif self.portal.defers_directly is None and any("PAUSE" in allowed for allowed in access):
            self._learn(directly=False)

    def _learn_from_refusals(self, refused: Sequence[JobItem], items: Sequence[JobItem]) -> None:
        """Where direct defers work for other tasks of the job, a refusal is about the person; else the portal
        has changed its rule, and these take two steps."""
        now_done = any(item.state == State.DONE and item.directly for item in items)
        if now_done or self.job.items.filter(state=State.DONE, directly=True).exists():
            for item in refused:
                item.state, item.code = State.FAILED, JobItem.Code.NOT_PERMITTED
        else:
            self._learn(directly=False)

    def _learn(self, *, directly: bool) -> None:
        if self.portal.defers_directly is not directly:
            Portal.objects.filter(pk=self.portal.pk).update(defers_directly=directly)
            self.portal.defers_directly = directly
            logger.info("portal %s defers tasks in progress directly: %s", self.portal.pk, directly)

    # Sending

    def _send(self, items: Sequence[JobItem]) -> None:
        """Commit the intent, send the acts, save what they were answered."""
        acts = [(item.task_id, act) for item in items for act in steps.acts_for(item)]
        if not self._claim(items):
            return  # the person stopped the job at this moment
        failpoints.reach("claimed")
        try:
            replies = tasks.send(self.client, acts)
        except (NotRun, AccessLost):
            self._unclaim(items)
            raise
        failpoints.reach("answered")
        slept = []
        for item in items:
            answers = {act: replies[item.task_id, act] for id, act in acts if id == item.task_id}
            shown = steps.take_answer(item, answers, self.job.person.user_id)
            if item.state == State.DONE:
                slept.append((item, shown))
        self._save(items, slept, replies)
        if any(isinstance(reply, Answer) and tasks.shows_direct_defer(reply) for reply in replies.values()):
            self._learn(directly=True)
        for reply in replies.values():
            if isinstance(reply, NoSuchMethod):
                raise reply
            if isinstance(reply, OperatingLimit):
                raise self._until_reset(reply)
            if isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, Denied):
                raise reply  # it stopped these commands and would stop the next ones

    def _claim(self, items: Sequence[JobItem]) -> bool:
        """Note that these are being sent, before the first byte leaves; say whether all of them still may be."""
        now = dates.now()
        unchanged = Job.objects.unfinished().filter(pk=self.job.pk, stop_asked_at=self.job.stop_asked_at)
        mine = JobItem.objects.filter(pk__in=[item.pk for item in items], state=State.PENDING)
        with transaction.atomic():
            if not self.lease.try_renew(Q(Exists(unchanged))):
                self.lease.renew()
                return False  # stopped at this moment
            claimed = mine.update(
                state=State.SENT,
                sent_at=now,
                sends=F("sends") + 1,
                status_before=Coalesce("status_before", "status_seen"),
            )
            if claimed != len(items):
                raise LeaseLost(f"job {self.job.pk}: items changed under us")
        for item in items:
            item.state, item.sent_at, item.sends = State.SENT, now, item.sends + 1
            item.status_before = item.status_before or item.status_seen
        return True

    def _unclaim(self, items: Sequence[JobItem]) -> None:
        """The answer proves that nothing ran: these were never sent."""
        mine = JobItem.objects.filter(pk__in=[item.pk for item in items], state=State.SENT)
        with transaction.atomic():
            self.lease.renew()
            # What a task was before we touched it is known only when we touch it.
            mine.filter(sends=1, step=Step.NONE, status_before=F("status_seen")).update(status_before=None)
            mine.update(state=State.PENDING, sends=F("sends") - 1)

    def _until_reset(self, error: OperatingLimit) -> OperatingLimit:
        """The same error, with the wait until the portal counts the method's time anew."""
        operating = Portal.objects.values_list("operating", flat=True).get(pk=self.job.portal_id)
        resets = [reset_at for _, reset_at in operating.values()]
        now = dates.now().timestamp()
        delay = max(resets, default=0.0) - now + 1
        return OperatingLimit(error.code, delay=delay if delay > 0 else error.delay)

    # Saving

    def _save(
        self,
        items: Sequence[JobItem],
        slept: Sequence[tuple[JobItem, TaskState | None]],
        replies: dict[tuple[int, Act], Answer | BitrixError] | None = None,
    ) -> None:
        """Everything that a step found out, in one transaction that only the holder of the lease can make."""
        now = dates.now()
        with transaction.atomic():
            self.lease.renew(last_slice_at=now, **self._measured(list((replies or {}).items())))
            # Not bulk_update: building its CASE WHEN for 50 rows takes longer than all the rest of a step.
            JobItem.objects.bulk_create(items, update_conflicts=True, update_fields=SAVED_FIELDS, unique_fields=["id"])
            deferrals.record(self.job, slept, now)
            Job.objects.filter(pk=self.job.pk).update(
                **self._counts_after(items),
                state=Job.State.RUNNING,
                setbacks=0,
                waiting_why="",
                waiting_code="",
                last_slice_at=now,
            )
            if self.job.person.portal.parked_until:
                refusals.unpark(self.job.person)
            failpoints.reach("saving")
        failpoints.reach("saved")

    def _counts_after(self, items: Sequence[JobItem]) -> Mapping[str, object]:
        """The job's counts with what became of `items`."""
        ended = Counter(item.state for item in items if item.state in JobItem.ENDED)
        return {state: F(state) + number for state, number in ended.items()}

    def _measured(self, replies: Sequence[tuple[tuple[int, Act], Answer | BitrixError]]) -> dict[str, object]:
        """What the answers teach about the portal: time per command, operating time per method."""
        answers = [(act, reply) for (_, act), reply in replies if isinstance(reply, Answer)]
        seconds = [reply.seconds for _, reply in answers if reply.seconds is not None]
        if not seconds:
            return {}
        portal = self.job.person.portal
        operating = dict(portal.operating)
        for act, reply in answers:
            if reply.operating:
                operating[act.method] = [reply.operating.seconds, reply.operating.reset_at]
        average = limits.smoothed(portal.seconds_per_command, sum(seconds) / len(seconds))
        return {"seconds_per_command": average, "operating": operating}

    def _finish_or_wait(self) -> None:
        """Nothing to send and nothing due: wait for lost answers to become readable, or close the job."""
        now = dates.now()
        oldest = self.job.items.filter(state=State.SENT).aggregate(at=Min("sent_at"))["at"]
        with transaction.atomic():
            self.lease.renew()
            mine = Job.objects.unfinished().filter(pk=self.job.pk)
            if oldest:
                until = oldest + timedelta(seconds=settings.SETTLE_AFTER)
                mine.update(state=Job.State.WAITING, waiting_why=Job.Why.PORTAL, waiting_until=until, last_slice_at=now)
            else:
                mine.update(
                    **deferrals.counts(self.job),
                    state=Job.State.FINISHED,
                    finished_at=now,
                    last_slice_at=now,
                    waiting_why="",
                )
