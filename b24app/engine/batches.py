"""One batch of a job: read what its tasks are now, or change their status.

The intent is committed first, the portal is called outside any transaction, the outcome is saved under the lease. If an
answer is lost, the tasks are read again; nothing is sent twice on a guess.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from b24app import clock, failpoints
from b24app.bitrix import stopwatch, tasks
from b24app.bitrix.client import Answer, Client, Reply
from b24app.bitrix.errors import AccessLost, BitrixError, MethodDenied, NotRun, OperatingLimit, Unknown
from b24app.bitrix.tasks import Act, Status, TaskState
from b24app.clock import shared_now
from b24app.engine import budget, deferrals, deferring, outcomes, returning, saving
from b24app.engine.budget import Replies
from b24app.engine.choosing import Turn, next_items
from b24app.models import Job, JobItem, Portal
from b24app.portals import access
from b24app.portals.lease import Lease

logger = logging.getLogger(__name__)

State, Step, Code = JobItem.State, JobItem.Step, JobItem.Code


def run(job: Job, client: Client, lease: Lease) -> None:
    """Do the next thing for a job: settle items, send items, read items, or finish it or let it wait.

    Raises LeaseLost, or the BitrixError that stopped it; what was found before is saved. Safe to repeat.
    """
    kind = ReturnBatch if job.kind == Job.Kind.RETURN else DeferBatch
    kind(job, client, lease).run()


@dataclass(frozen=True)
class Batch(ABC):
    """One batch of a job, with the client of the person who asked for the job."""

    job: Job
    client: Client
    lease: Lease

    @property
    def portal(self) -> Portal:
        return self.job.person.portal

    @property
    def items(self) -> QuerySet[JobItem]:
        """The items of the job, with the rows that decisions about them need."""
        return self.job.items.all()

    # -- What differs between deferring and returning -----------------------------------------------------------

    @property
    @abstractmethod
    def fresh_for(self) -> float:
        """Seconds for which a status may be acted upon after it was read."""

    @abstractmethod
    def acts_for(self, item: JobItem) -> list[Act]:
        """What to send next for this item."""

    @abstractmethod
    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        """The pending items to read now. A return reads only as many as it sends right after."""

    @abstractmethod
    def apply_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        """Move the items according to their tasks, by task id. A missing task does not exist for the person."""

    @abstractmethod
    def apply_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        """Move an item according to the answers. Return its task if an answer shows it after the change."""

    @abstractmethod
    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        """Update the deferrals by the outcomes of `items`; `shown` maps task id to the task after the change."""

    # -- The batch ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what is next: see `run` of the module."""
        due = next_items(self.job, self.items, self.fresh_for)
        if due.turn == Turn.SEND and due.unread and self._has_room(due.items):
            self._read(self.to_read(due.unread))  # sending the few items alone would cost one more request
        elif due.turn == Turn.SEND:
            self._send(self.fitting(due.items))
        elif due.items:
            self._read(due.items if due.turn == Turn.SETTLE else self.to_read(due.items))
        else:
            saving.finish_or_wait(self.job, self.lease)

    def fitting(self, items: Sequence[JobItem]) -> list[JobItem]:
        """The first of `items` that fit into one batch, by the number of commands and the operating time left.

        Raises OperatingLimit if the operating time is not enough for the first one.
        """
        cost = (self.portal.seconds_per_command or budget.UNMEASURED) * settings.ENGINE_PORTAL_PACE
        chosen = budget.fitting(items, self.acts_for, self._places(), cost, self._operating_left)
        if items and not chosen:
            raise _operating_limit("own_limit", self.job.portal_id, self.acts_for(items[0]))
        return chosen

    def _places(self) -> int:
        """How many commands the next batch may contain. The first batch is short, so that the person sees progress."""
        is_first = self.job.last_slice_at is None or not self.job.settled
        seconds = settings.ENGINE_FIRST_BATCH_SECONDS if is_first else settings.ENGINE_BATCH_SECONDS
        return budget.places(self.portal.seconds_per_command, seconds)

    def _has_room(self, items: Sequence[JobItem]) -> bool:
        return budget.has_room_for_another(sum(len(self.acts_for(item)) for item in items), self._places())

    def _operating_left(self, act: Act) -> float:
        now = clock.now()
        return budget.operating_left(self.portal.operating, act, now.timestamp(), self.portal.is_in_use(now))

    def _read(self, items: Sequence[JobItem]) -> None:
        """Read the tasks of `items`, and move the items. Raises Unknown if an unfinished item could not be read."""
        started = time.monotonic()
        shown = tasks.read_states(self.client, [item.task_id for item in items])
        seen_at = shared_now() - timedelta(seconds=time.monotonic() - started)
        found = {id: task for id, task in shown.items() if isinstance(task, TaskState)}
        garbled = [item for item in items if shown.get(item.task_id) is tasks.UNREADABLE]
        legible = [item for item in items if item not in garbled]
        for item in garbled:
            deferring.mark_garbled(item)
        is_any_renamed = _rename(legible, found)
        for item in legible:
            item.seen_at = seen_at
        self.apply_readings(legible, found)
        self._save(items, found, also=None if garbled or is_any_renamed else {"seen_at": seen_at})
        if any(item.state not in JobItem.ENDED for item in garbled):
            raise Unknown("garbled_task")

    def _send(self, items: Sequence[JobItem]) -> None:
        """Commit the intent, send the acts, save the outcomes. Raises the error that would stop the next batch too."""
        client = replace(self.client, begun_at=stopwatch.now())  # settling counts from the claim, so sending does too
        if not saving.claim(self.job, self.lease, items):
            return  # the person stopped the job in this moment
        failpoints.reach("claimed")
        replies = self._replies(client, items)
        failpoints.reach("answered")
        shown: dict[int, TaskState] = {}
        for item in items:
            answers = {act: replies[item.task_id, act] for act in self.acts_for(item)}
            if task := self.apply_answers(item, answers):
                shown[item.task_id] = task
        self._save(items, shown, replies, also={})
        for reply in replies.values():
            if isinstance(reply, (NotRun, AccessLost)) and not isinstance(reply, MethodDenied):
                raise _with_reset_delay(reply, self.job.portal_id, replies)

    def _replies(self, client: Client, items: Sequence[JobItem]) -> Replies:
        """The answers to the acts. Raises the error of the whole request; if nothing ran, the claim is undone first."""
        started = time.monotonic()
        acts = [(item.task_id, act) for item in items for act in self.acts_for(item)]
        try:
            return tasks.send(client, acts)
        except (NotRun, AccessLost) as error:
            saving.unclaim(self.lease, items)
            raise _with_reset_delay(error, self.job.portal_id, acts) from error
        except Unknown:
            _learn_slowness(self.lease, self.portal, (time.monotonic() - started) / len(acts))
            raise

    def _save(
        self,
        items: Sequence[JobItem],
        shown: Mapping[int, TaskState],
        replies: Replies | None = None,
        *,
        also: Mapping[str, object] | None,
    ) -> None:
        """Save everything that this batch found, in one transaction under the lease. `also`: see saving.save_items."""
        measured = budget.measure(replies or {}, self.portal.seconds_per_command, self.portal.operating)
        with transaction.atomic():
            self.lease.renew(last_slice_at=clock.now(), **(vars(measured) if measured else {}))
            self.record(items, shown)
            saving.save_items(items, also)
            saving.save_progress(self.job, items)
            if self.portal.parked_until:
                access.unpark(self.job.person)
            failpoints.reach("saving")
        self.job.setbacks, self.job.wait_code = 0, ""  # an error after this point is the first in a row
        failpoints.reach("saved")


def _with_reset_delay(error: BitrixError, portal_id: int, acts: Iterable[tuple[int, Act]]) -> BitrixError:
    """The same error. If it is an OperatingLimit, its `delay` is the time until the reset, if that is known."""
    if not isinstance(error, OperatingLimit):
        return error
    return _operating_limit(error.code, portal_id, [act for _, act in acts])


def _operating_limit(code: str, portal_id: int, acts: Iterable[Act]) -> OperatingLimit:
    """The error that waits until the portal resets the operating time of the methods of `acts`."""
    operating = Portal.objects.values_list("operating", flat=True).get(pk=portal_id)
    methods = {act.method for act in acts}
    return OperatingLimit(code, delay=budget.seconds_until_reset(operating, methods, clock.now().timestamp()))


def _learn_slowness(lease: Lease, portal: Portal, seconds: float) -> None:
    """Each command of a batch that was cut took at least `seconds`: the next batch is smaller."""
    if seconds > (portal.seconds_per_command or 0.0):
        lease.renew(seconds_per_command=seconds)


def _rename(items: Sequence[JobItem], found: Mapping[int, TaskState]) -> bool:
    """Give the items the titles that their tasks have now. Return whether a title changed."""
    renamed = [item for item in items if item.task_id in found and found[item.task_id].title[:300] != item.title]
    for item in renamed:
        item.title = found[item.task_id].title[:300]
    return bool(renamed)


class DeferBatch(Batch):
    """Tasks on their way to Deferred. deferring.py decides about each; what one task teaches about the portal is used
    for the next."""

    @property
    def fresh_for(self) -> float:
        return float(settings.ENGINE_STATUS_MAX_AGE)

    def acts_for(self, item: JobItem) -> list[Act]:
        return deferring.acts_for(item)

    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        return items

    def apply_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        refused_directly = [item for item in items if deferring.is_refused_directly(item, found.get(item.task_id))]
        for item in items:
            deferring.apply_reading(item, found.get(item.task_id), self.job.person.user_id)
        if refused_directly:
            self._learn_from_refusals(refused_directly, items, found)
        self._check_rights(items, found)

    def apply_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        if any(isinstance(reply, Answer) and tasks.shows_direct_defer(reply) for reply in replies.values()):
            self._learn(direct=True)
        return deferring.apply_answer(item, replies, self.job.person.user_id)

    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        deferred = [(item, shown.get(item.task_id)) for item in items if item.state == State.DONE]
        for item in deferrals.record(self.job, deferred, clock.now()):
            outcomes.finish(item, State.SKIPPED, Code.ALREADY_DEFERRED)
            outcomes.record_changer(item, shown[item.task_id])

    def _check_rights(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        """Ask for the person's rights before pausing tasks in which they do not take part.

        Such a person may have the right to pause a task but not to defer it. If the portal is new to us, the first
        task is asked for too: the answer shows whether the portal defers directly.
        """
        pending = [item for item in items if item.state == State.PENDING and item.step == Step.NONE]
        self._choose_paths(pending)
        to_pause = {item.task_id: item for item in pending if Act.PAUSE in deferring.acts_for(item)}
        foreign = [id for id in to_pause if self.job.person.user_id not in found[id].participants]
        unknown = list(to_pause)[:1] if self.portal.defers_directly is None else []
        rights = tasks.read_access(self.client, ids) if (ids := list(dict.fromkeys(foreign + unknown))) else {}
        if rights:
            self._learn_from_rights(rights.values())
            self._choose_paths(pending)
        for item in (to_pause[id] for id in foreign if Act.PAUSE in deferring.acts_for(to_pause[id])):
            if item.task_id not in rights:
                deferring.fail_garbled(item)
            elif not {"PAUSE", "EDIT"} <= rights[item.task_id]:
                _forbid(item, found)

    # -- Whether the portal defers a task in progress without a pause --------------------------------------------

    def _choose_paths(self, items: Sequence[JobItem]) -> None:
        for item in items:
            item.direct = self.portal.defers_directly is True and item.status_seen == Status.IN_PROGRESS

    def _learn_from_rights(self, rights: Iterable[frozenset[str]]) -> None:
        """The right DEFER on a task in progress exists only if the portal needs no pause."""
        if any("DEFER" in allowed for allowed in rights):
            self._learn(direct=True)
        elif self.portal.defers_directly is None and any("PAUSE" in allowed for allowed in rights):
            self._learn(direct=False)

    def _learn_from_refusals(
        self, refused: Sequence[JobItem], items: Sequence[JobItem], found: Mapping[int, TaskState]
    ) -> None:
        """If direct defer works for other tasks of this job, the person lacks the right. Otherwise the portal no longer
        allows it, and these tasks need pause + defer."""
        works_now = any(item.state == State.DONE and item.direct for item in items)
        if works_now or self.job.items.filter(state=State.DONE, direct=True).exists():
            for item in refused:
                _forbid(item, found)
        else:
            self._learn(direct=False)

    def _learn(self, *, direct: bool) -> None:
        if self.portal.defers_directly is not direct:
            Portal.objects.filter(pk=self.portal.pk).update(defers_directly=direct)
            self.portal.defers_directly = direct
            logger.info("portal %s defers tasks in progress directly: %s", self.portal.pk, direct)


def _forbid(item: JobItem, found: Mapping[int, TaskState]) -> None:
    """Fail an item that the person may not defer, and note whom to ask."""
    outcomes.finish(item, State.FAILED, Code.NOT_PERMITTED)
    outcomes.record_changer(item, found[item.task_id])


class ReturnBatch(Batch):
    """Tasks on their way back. returning.py decides about each. `renew` reopens completed tasks too, so the tasks of a
    batch are read right before it is sent."""

    @property
    def items(self) -> QuerySet[JobItem]:
        return super().items.select_related("returns")

    @property
    def fresh_for(self) -> float:
        return float(settings.ENGINE_DEFERRAL_MAX_AGE)

    def acts_for(self, item: JobItem) -> list[Act]:
        return returning.acts_for(item)

    def to_read(self, items: Sequence[JobItem]) -> Sequence[JobItem]:
        return self.fitting(items)

    def apply_readings(self, items: Sequence[JobItem], found: Mapping[int, TaskState]) -> None:
        for item in items:
            returning.apply_reading(item, found.get(item.task_id), self.job.person.user_id)

    def apply_answers(self, item: JobItem, replies: dict[Act, Reply]) -> TaskState | None:
        returning.apply_answer(item, replies, self.job.person.user_id)
        return None

    def record(self, items: Sequence[JobItem], shown: Mapping[int, TaskState]) -> None:
        deferrals.record_ends(items)
