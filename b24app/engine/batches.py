"""One batch of a job: read what became of its tasks, or change their status.

What is about to be sent is committed first, the portal is called outside of any transaction, and what came of it is
saved under the lease's fence. An answer that was lost is settled by reading, never by guessing or repeating.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, Q, QuerySet, When
from django.db.models.functions import Coalesce

from b24app import clock, failpoints
from b24app.bitrix import limits, tasks
from b24app.bitrix.client import Answer, Client, Reply
from b24app.bitrix.errors import AccessLost, MethodDenied, NotRun, OperatingLimit, Unknown
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.clock import shared_now
from b24app.engine import deferrals, deferring, jobs, outcomes, returning
from b24app.models import Job, JobItem, Portal
from b24app.portals import access
from b24app.portals.lease import Lease, LeaseLost

logger = logging.getLogger(__name__)
State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code
Replies = Mapping[tuple[int, Act], Reply]
UNMEASURED = 0.01  # seconds of operating time that a command is taken to cost while none was measured
OUTCOME = [
    *("state", "step", "status_seen", "status_before", "sends", "direct"),
    *("refusal", "code", "vendor_code", "changed_at", "changed_by"),
]


def run(job: Job, client: Client, lease: Lease) -> None:
    """Settle what can be settled, else send what was read, else read on, else finish the job or wait for answers.

    Raises LeaseLost, or the BitrixError that stopped it; what was found out until then is saved. May be repeated.
    """
    kind = ReturnBatch if job.kind == Job.Kind.RETURN else DeferBatch
    kind(job, client, lease).run()


class Turn(IntEnum):
    """What items wait for, in the order of precedence."""

    SETTLE = 1
    SEND = 2
    READ = 3


@dataclass(frozen=True)
class Batch(ABC):
    """One step of a job, with the client that acts for the person who asked for it."""

    job: Job
    client: Client
    lease: Lease

    @property
    def portal(self) -> Portal:
        return self.job.person.portal

    @property
    def items(self) -> QuerySet[JobItem]:
        """The job's items, with what is needed to decide about them."""
        return self.job.items.all()

    # What the way to Deferred and the way back have of their own

    @property
    @abstractmethod
    def fresh_for(self) -> float:
        """Seconds for which a status that was read may be acted upon."""

    @abstractmethod
    def acts_for(self, item: JobItem) -> list[Act]:
        """What to send next for this item."""

    @abstractmethod
    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        """Those of the pending items to read now; for the way back, no more than are sent right after it."""

    @abstractmethod
    def take_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        """Move items according to what their tasks are now; one that is missing is gone."""

    @abstractmethod
    def take_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        """Move an item according to what its acts were answered; the task, where that shows what became of it."""

    @abstractmethod
    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        """Note what the outcomes of `items` mean for what we owe; `shown` holds tasks as they are after it."""

    # Which items

    def run(self) -> None:
        turn, items, unread = self._next_items()
        if turn == Turn.SEND and not self._leaves_room(items, unread):
            self._send(self.fitting(items))
        elif turn == Turn.SEND:
            self._read(self.to_read(unread))  # a few left over would cost a request of their own
        elif items:
            self._read(items if turn == Turn.SETTLE else self.to_read(items))
        else:
            self._finish_or_wait()

    def _next_items(self) -> tuple[Turn, list[JobItem], list[JobItem]]:
        """The items whose turn it is, and for what; half-done ones first; and some to be read after them. One query.

        Refused items are read at once, lost ones when the portal must be through with them; pending ones are sent
        when their status was read recently.
        """
        silent_since = shared_now() - timedelta(seconds=settings.SETTLE_AFTER)
        fresh_since = shared_now() - timedelta(seconds=self.fresh_for)
        is_due = Q(~Q(refusal="") | Q(sent_at__lte=silent_since), state=State.SENT)
        is_fresh = Q(state=State.PENDING, seen_at__gt=fresh_since)
        turn = Case(When(is_due, then=Turn.SETTLE), When(is_fresh, then=Turn.SEND), default=Turn.READ)
        is_untouched = Case(When(step=Step.NONE, then=1), default=0)
        waiting = self.items.filter(is_due | Q(state=State.PENDING)).annotate(turn=turn)
        items = list(waiting.order_by("turn", is_untouched, "id")[: tasks.PAGE_SIZE])
        first = Turn(items[0].turn) if items else Turn.READ
        mine: list[JobItem] = [item for item in items if item.turn == first]
        return first, mine, [item for item in items[len(mine) :] if item.turn == Turn.READ]

    def fitting(self, items: Sequence[JobItem]) -> list[JobItem]:
        """The first of `items` that fit into one batch, by count, time, and what the portal lets us execute.

        All acts of a task are planned together: none is paused that could not be deferred. Raises OperatingLimit
        when the operating time that is left suffices for none.
        """
        places = self._places()
        cost = (self.portal.seconds_per_command or UNMEASURED) * settings.PORTAL_PACE
        left: dict[Act, float] = {}
        fitting: list[JobItem] = []
        for item in items:
            acts = self.acts_for(item)
            if len(acts) > places:
                break
            rest = {act: (left[act] if act in left else self._operating_left(act)) - cost for act in acts}
            if min(rest.values()) >= 0:
                left |= rest
                places -= len(acts)
                fitting.append(item)
        if items and not fitting:
            raise OperatingLimit("own_limit", delay=self._until_reset({act.method for act in self.acts_for(items[0])}))
        return fitting

    def _places(self) -> int:
        """How many commands the next batch may hold."""
        is_first = self.job.last_slice_at is None or not self.job.settled
        seconds = settings.FIRST_BATCH_SECONDS if is_first else settings.BATCH_SECONDS
        return limits.commands_that_fit(self.portal.seconds_per_command, seconds)

    def _leaves_room(self, items: Sequence[JobItem], unread: Sequence[JobItem]) -> bool:
        """Whether all `items` and more would fit into one batch, and there are more to be read."""
        return bool(unread) and sum(len(self.acts_for(item)) for item in items) + 2 <= self._places()

    def _operating_left(self, act: Act) -> float:
        """Seconds of operating time that this act's method has left for us."""
        now = clock.now()
        used, reset_at = self.portal.operating.get(act.method, (0.0, 0.0))
        return limits.operating_left(used, reset_at, now.timestamp(), self.portal.is_in_use(now))

    def _until_reset(self, methods: Collection[str]) -> float | None:
        """Seconds until the portal counts the operating time of these methods anew; None where it never said."""
        operating = Portal.objects.values_list("operating", flat=True).get(pk=self.job.portal_id)
        left = [operating[method][1] - clock.now().timestamp() for method in methods if method in operating]
        return max(1.0, max(left) + 1) if left and max(left) > -1 else None

    # Reading

    def _read(self, items: Sequence[JobItem]) -> None:
        """Read what these tasks are now and move their items accordingly."""
        started = time.monotonic()
        shown = tasks.read_states(self.client, [item.task_id for item in items])
        seen_at = shared_now() - timedelta(seconds=time.monotonic() - started)
        found = {id: task for id, task in shown.items() if isinstance(task, TaskState)}
        nonsense = [item for item in items if shown.get(item.task_id) is tasks.UNREADABLE]
        for item in nonsense:
            deferring.mark_garbled(item)
        legible = [item for item in items if item not in nonsense]
        renamed = [item for item in legible if item.task_id in found and found[item.task_id].title[:300] != item.title]
        for item in renamed:
            item.title = found[item.task_id].title[:300]
        for item in legible:
            item.seen_at = seen_at
        self.take_readings(legible, found)
        self._save(items, found, also=None if nonsense or renamed else {"seen_at": seen_at})
        if any(item.state not in JobItem.ENDED for item in nonsense):
            raise Unknown("garbled_task")

    # Sending

    def _send(self, items: Sequence[JobItem]) -> None:
        """Commit the intent, send the acts, save what they were answered."""
        acts = [(item.task_id, act) for item in items for act in self.acts_for(item)]
        if not self._claim(items):
            return  # the person stopped the job at this moment
        failpoints.reach("claimed")
        started = time.monotonic()
        try:
            replies = tasks.send(self.client, acts)
        except (NotRun, AccessLost) as error:
            self._unclaim(items)
            if isinstance(error, OperatingLimit):
                raise self._as_long_as_it_lasts(error, acts) from error
            raise
        except Unknown:
            self._learn_slowness((time.monotonic() - started) / len(acts))
            raise
        failpoints.reach("answered")
        shown: dict[int, TaskState] = {}
        for item in items:
            answers = {act: replies[item.task_id, act] for act in self.acts_for(item)}
            if task := self.take_answers(item, answers):
                shown[item.task_id] = task
        self._save(items, shown, replies, also={})
        for reply in replies.values():
            if isinstance(reply, OperatingLimit):
                raise self._as_long_as_it_lasts(reply, acts)
            if isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, MethodDenied):
                raise reply  # it stopped its command and would stop the next ones too

    def _as_long_as_it_lasts(self, error: OperatingLimit, acts: Iterable[tuple[int, Act]]) -> OperatingLimit:
        """The same error, with the wait until the portal counts anew, where it has said when that is."""
        return OperatingLimit(error.code, delay=self._until_reset({act.method for _, act in acts}))

    def _learn_slowness(self, seconds: float) -> None:
        """A batch that was cut took at least so long for each command: the next one is smaller."""
        if seconds > (self.portal.seconds_per_command or 0.0):
            self.lease.renew(seconds_per_command=seconds)

    def _claim(self, items: Sequence[JobItem]) -> bool:
        """Note that these are being sent, before the first byte leaves; say whether all of them still may be."""
        unchanged = Job.objects.unfinished().filter(pk=self.job.pk, stop_asked_at=self.job.stop_asked_at)
        mine = JobItem.objects.filter(pk__in=[item.pk for item in items], state=State.PENDING)
        with transaction.atomic():
            if not self.lease.try_renew(Q(Exists(unchanged))):
                self.lease.renew()
                return False  # stopped at this moment
            claimed = mine.update(
                state=State.SENT,
                sent_at=shared_now(),
                sends=F("sends") + 1,
                status_before=Coalesce("status_before", "status_seen"),
            )
            if claimed != len(items):
                raise LeaseLost(f"job {self.job.pk}: items changed under us")
        for item in items:
            item.state, item.sends = State.SENT, item.sends + 1
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

    # Saving

    def _save(
        self,
        items: Sequence[JobItem],
        shown: Mapping[int, TaskState],
        replies: Replies | None = None,
        *,
        also: Mapping[str, object] | None,
    ) -> None:
        """Everything that a step found out, in one transaction that only the holder of the lease can make.

        `also` is what is saved with each item's outcome, the same for all; None where they differ in more.
        """
        now = clock.now()
        with transaction.atomic():
            self.lease.renew(last_slice_at=now, **self._measured(replies or {}))
            self._save_items(items, also)
            self.record(items, shown)
            Job.objects.filter(pk=self.job.pk).update(
                **self._counts_after(items),
                state=Job.State.RUNNING,
                setbacks=0,
                wait_reason="",
                wait_code="",
                last_slice_at=now,
            )
            if self.portal.parked_until:
                access.unpark(self.job.person)
            failpoints.reach("saving")
        self.job.setbacks, self.job.wait_code = 0, ""  # whoever waits after this begins to count
        failpoints.reach("saved")

    def _save_items(self, items: Sequence[JobItem], also: Mapping[str, object] | None) -> None:
        """Mostly all of them have had the same fate: then one statement with their ids says it."""
        outcomes = {tuple(getattr(item, name) for name in OUTCOME) for item in items}
        if also is not None and len(outcomes) == 1:
            (outcome,) = outcomes
            alike = JobItem.objects.filter(pk__in=[item.pk for item in items])
            alike.update(**dict(zip(OUTCOME, outcome, strict=True)), **also)
        else:
            # Not bulk_update: building its CASE WHEN for 50 rows takes longer than all the rest of a step.
            fields = [*OUTCOME, "title", "seen_at"]
            JobItem.objects.bulk_create(items, update_conflicts=True, update_fields=fields, unique_fields=["id"])

    def _counts_after(self, items: Sequence[JobItem]) -> Mapping[str, object]:
        """The job's counts with what became of `items`."""
        ended = Counter(item.state for item in items if item.state in JobItem.ENDED)
        return {state: F(state) + number for state, number in ended.items()}

    def _measured(self, replies: Replies) -> dict[str, object]:
        """What the answers teach about the portal: time per command, operating time per method."""
        answers = [(act, reply) for (_, act), reply in replies.items() if isinstance(reply, Answer)]
        seconds = [reply.seconds for _, reply in answers if reply.seconds is not None]
        if not seconds:
            return {}
        operating = dict(self.portal.operating)
        for act, reply in answers:
            if reply.operating:
                operating[act.method] = [reply.operating.seconds, reply.operating.reset_at]
        average = limits.smoothed(self.portal.seconds_per_command, sum(seconds) / len(seconds))
        return {"seconds_per_command": average, "operating": operating}

    def _finish_or_wait(self) -> None:
        """Nothing to send and nothing due: wait for lost answers to become readable, or close the job."""
        now = clock.now()
        lost = self.job.items.filter(state=State.SENT).order_by("sent_at").annotate(at=shared_now())
        oldest = lost.values_list("sent_at", "at").first()
        with transaction.atomic():
            self.lease.renew()
            mine = Job.objects.unfinished().filter(pk=self.job.pk)
            if oldest:
                sent_at, at = oldest
                until = now + timedelta(seconds=settings.SETTLE_AFTER) - (at - sent_at)
                mine.update(
                    state=Job.State.WAITING, wait_reason=Job.WaitReason.PORTAL, wait_until=until, last_slice_at=now
                )
            else:
                mine.update(
                    **jobs.counts(self.job),
                    state=Job.State.FINISHED,
                    finished_at=now,
                    last_slice_at=now,
                    wait_reason="",
                )


class DeferBatch(Batch):
    """To Deferred: steps.py decides for each task, and what one task teaches about the portal is used for the next."""

    @property
    def fresh_for(self) -> float:
        return float(settings.STATUS_IS_FRESH)

    def acts_for(self, item: JobItem) -> list[Act]:
        return deferring.acts_for(item)

    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        return items

    def take_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        refused_directly = [item for item in items if deferring.is_refused_directly(item, found.get(item.task_id))]
        for item in items:
            deferring.apply_reading(item, found.get(item.task_id), self.job.person.user_id)
        if refused_directly:
            self._learn_from_refusals(refused_directly, items, found)
        self._ask_what_may_be_paused(items, found)

    def take_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        if any(isinstance(reply, Answer) and tasks.shows_direct_defer(reply) for reply in replies.values()):
            self._learn(direct=True)
        return deferring.apply_answer(item, replies, self.job.person.user_id)

    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        slept = [(item, shown.get(item.task_id)) for item in items if item.state == State.DONE]
        deferrals.record(self.job, slept, clock.now())

    def _ask_what_may_be_paused(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        """Who is no participant may be allowed to pause a task and then not to defer it: ask before pausing.

        The first task of a portal that we do not know yet is asked for too: it may be one that defers directly.
        """
        pending = [item for item in items if item.state == State.PENDING and item.step == Step.NONE]
        self._choose_paths(pending)
        to_pause = {item.task_id: item for item in pending if Act.PAUSE in deferring.acts_for(item)}
        foreign = [id for id in to_pause if self.job.person.user_id not in found[id].participants]
        unknown = list(to_pause)[:1] if self.portal.defers_directly is None else []
        access = tasks.read_access(self.client, ids) if (ids := list(dict.fromkeys(foreign + unknown))) else {}
        if access:
            self._learn_from_access(access.values())
            self._choose_paths(pending)
        for id in foreign:
            if Act.PAUSE in deferring.acts_for(to_pause[id]) and id not in access:
                deferring.mark_garbled(to_pause[id])
            elif Act.PAUSE in deferring.acts_for(to_pause[id]) and not {"PAUSE", "EDIT"} <= access[id]:
                self._forbid(to_pause[id], found)

    def _forbid(self, item: JobItem, found: Mapping[int, TaskState]) -> None:
        outcomes.finish(item, State.FAILED, Code.NOT_PERMITTED)
        outcomes.record_changer(item, found[item.task_id])

    # Whether the portal defers a task in progress without a pause

    def _choose_paths(self, items: Sequence[JobItem]) -> None:
        for item in items:
            item.direct = self.portal.defers_directly is True and item.status_seen == Status.IN_PROGRESS

    def _learn_from_access(self, access: Iterable[frozenset[str]]) -> None:
        """What a person may do with tasks in progress: DEFER among it is there only where no pause is needed."""
        if any("DEFER" in allowed for allowed in access):
            self._learn(direct=True)
        elif self.portal.defers_directly is None and any("PAUSE" in allowed for allowed in access):
            self._learn(direct=False)

    def _learn_from_refusals(
        self, refused: Sequence[JobItem], items: Sequence[JobItem], found: Mapping[int, TaskState]
    ) -> None:
        """Where direct defers work for other tasks of the job, a refusal is about the person; else the portal
        has changed its rule, and these take two steps."""
        now_done = any(item.state == State.DONE and item.direct for item in items)
        if now_done or self.job.items.filter(state=State.DONE, direct=True).exists():
            for item in refused:
                self._forbid(item, found)
        else:
            self._learn(direct=False)

    def _learn(self, *, direct: bool) -> None:
        if self.portal.defers_directly is not direct:
            Portal.objects.filter(pk=self.portal.pk).update(defers_directly=direct)
            self.portal.defers_directly = direct
            logger.info("portal %s defers tasks in progress directly: %s", self.portal.pk, direct)


class ReturnBatch(Batch):
    """The way back: returns.py decides for each task. Renewing reopens whatever is not asleep any more, so tasks are
    read by the batch, right before they are sent."""

    @property
    def items(self) -> QuerySet[JobItem]:
        return super().items.select_related("returns")

    @property
    def fresh_for(self) -> float:
        return float(settings.DEFERRAL_IS_FRESH)

    def acts_for(self, item: JobItem) -> list[Act]:
        return returning.acts_for(item)

    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        return self.fitting(items)

    def take_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        for item in items:
            returning.apply_reading(item, found.get(item.task_id), self.job.person.user_id)

    def take_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        returning.apply_answer(item, replies, self.job.person.user_id)
        return None

    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        deferrals.record_ends(items)
