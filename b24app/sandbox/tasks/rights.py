"""Who may do what to a task: the portal's access rules, one small function each. Statuses are the real ones."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet

from ..portal import clock, knobs
from ..portal.models import Task, User
from ..portal.statuses import AWAITING_CONTROL, COMPLETED, DEFERRED, IN_PROGRESS, NEW, PENDING

OVERDUE, UNVIEWED, ALMOST_OVERDUE = -1, -2, -3  # meta statuses that hide the real one
STARTABLE = (NEW, PENDING)
DONE = (AWAITING_CONTROL, COMPLETED)


@dataclass(frozen=True)
class Relation:
    """A person's relation to a task."""

    admin: bool
    creator: bool
    responsible: bool
    accomplice: bool
    auditor: bool
    boss: bool  # of the creator, the responsible person or an accomplice, at any distance
    boss_of_creator: bool
    group_editor: bool
    group_member: bool

    @property
    def takes_part(self) -> bool:
        return self.creator or self.responsible or self.accomplice

    @property
    def may_read(self) -> bool:
        return self.admin or self.takes_part or self.auditor or self.boss or self.group_editor or self.group_member

    @property
    def may_edit(self) -> bool:
        return self.admin or self.group_editor or self.creator or self.boss_of_creator

    @property
    def may_change_status(self) -> bool:
        return self.admin or self.takes_part or self.group_editor or self.boss


def with_people(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Tasks with all the people that the rules and the answers need, in a few queries."""
    rows = tasks.select_related("portal", "creator", "responsible", "project", "status_changed_by", "parent")
    people = ("accomplices", "auditors", "unviewed_by", "project__members", "project__editors")
    return rows.prefetch_related(*people, "labels")


def relation(user: User, task: Task) -> Relation:
    accomplices = {person.pk for person in task.accomplices.all()}
    subordinates = subordinates_of(user)
    project = task.project
    return Relation(
        admin=user.is_admin,
        creator=task.creator_id == user.pk,
        responsible=task.responsible_id == user.pk,
        accomplice=user.pk in accomplices,
        auditor=user in task.auditors.all(),
        boss=bool(subordinates & {task.creator_id, task.responsible_id, *accomplices}),
        boss_of_creator=task.creator_id in subordinates,
        group_editor=project is not None and user in project.editors.all(),
        group_member=project is not None and user in project.members.all(),
    )


def subordinates_of(user: User) -> set[int]:
    """Row ids of all people below `user`, at any distance."""
    below: set[int] = set()
    level = {user.pk}
    pairs = list(User.objects.filter(portal=user.portal_id, boss__isnull=False).values_list("pk", "boss"))
    while level:
        level = {person for person, boss in pairs if boss in level} - below
        below |= level
    return below - {user.pk}


def meta_status(task: Task, user: User) -> int:
    """The status that lists show and filter by: the real one, unless a deadline or an unviewed task hides it."""
    if task.status not in DONE and task.deadline is not None and task.deadline < clock.now():
        return OVERDUE
    if task.status in STARTABLE and user in task.unviewed_by.all():
        return UNVIEWED
    if task.status not in DONE and task.deadline is not None and task.deadline < clock.now() + timedelta(days=1):
        return ALMOST_OVERDUE
    return task.status


def may_start(who: Relation, status: int, portal_key: str = "") -> bool:
    return status in STARTABLE and who.may_change_status


def may_pause(who: Relation, status: int, portal_key: str = "") -> bool:
    return status == IN_PROGRESS and who.may_change_status


def may_defer(who: Relation, status: int, portal_key: str = "") -> bool:
    if knobs.knob("old_defer_rule", portal_key):
        return status in (*STARTABLE, IN_PROGRESS) and (who.admin or who.responsible or who.accomplice)
    pending_only = knobs.trap("defer_only_from_pending", portal_key)
    allowed = STARTABLE if pending_only else (*STARTABLE, IN_PROGRESS)
    return status in allowed and (who.takes_part or who.may_edit)


def may_renew(who: Relation, status: int, portal_key: str = "") -> bool:
    if status == AWAITING_CONTROL:  # for the creator this action is called "disapprove"
        return (who.responsible or who.accomplice) and not who.creator
    return status in (COMPLETED, DEFERRED) and (who.takes_part or who.may_edit)


def may_complete(who: Relation, status: int, portal_key: str = "") -> bool:
    if status == AWAITING_CONTROL:
        return who.admin or who.creator or who.boss
    return status != COMPLETED and who.may_change_status


def may_judge(who: Relation, status: int) -> bool:
    """Whether the person may approve or disapprove a task that awaits control."""
    return status == AWAITING_CONTROL and (who.admin or who.creator or who.boss_of_creator)


def actions(who: Relation, status: int, portal_key: str) -> dict[str, bool]:
    """The action map of one task for one person, with the names and the order of REST."""
    edit, part = who.may_edit, who.takes_part or who.admin
    return {
        "accept": False,
        "decline": False,
        "complete": may_complete(who, status),
        "approve": may_judge(who, status),
        "disapprove": may_judge(who, status),
        "start": may_start(who, status),
        "pause": may_pause(who, status),
        "delegate": who.responsible or who.admin,
        "remove": edit,
        "edit": edit,
        "defer": may_defer(who, status, portal_key),
        "renew": may_renew(who, status),
        "create": True,
        "changeDeadline": edit,
        "checklistAddItems": part or edit,
        "addFavorite": True,
        "deleteFavorite": False,
        "rate": edit,
        "take": False,
        **dotted_actions(edit=edit, part=part),
    }


def dotted_actions(*, edit: bool, part: bool) -> dict[str, bool]:
    """The older names at the end of the action map."""
    return {
        "edit.originator": False,
        "checklist.reorder": part or edit,
        "elapsedtime.add": part,
        "dayplan.timer.toggle": False,
        "edit.plan": edit,
        "checklist.add": part or edit,
        "favorite.add": True,
        "favorite.delete": False,
    }
