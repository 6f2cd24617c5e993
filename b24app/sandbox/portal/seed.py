"""Demo data: portals with believable people, projects and tasks, the same on every start."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models, transaction

from . import clock
from .companies import COMPANIES, UMBRELLA, Company, Group, Person, Sort
from .models import Portal, Project, Task, User
from .statuses import AWAITING_CONTROL, COMPLETED, IN_PROGRESS

FIRST_TASK = 21  # the first task of every portal, so the same number means different tasks at two portals

Projects = Sequence[tuple[Project, set[int]]]  # each with its members' numbers


def demo(portals: Iterable[Portal]) -> None:
    """Fill every portal that has no people yet. A portal with an unknown key becomes a small company."""
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    for portal in portals:
        if not portal.users.exists():
            furnish(portal, COMPANIES.get(portal.key, UMBRELLA), now)


@transaction.atomic
def furnish(portal: Portal, company: Company, now: datetime) -> None:
    """Give the portal the company's name, people, projects and tasks, with dates around `now`."""
    portal.name, portal.language, portal.zone = company.name, company.language, company.zone
    portal.save()
    users = _hire(portal, company.people)
    projects = [(_start(portal, group, users), set(group.members)) for group in company.groups]
    dice = random.Random(company.name)  # noqa: S311 (not a secret: the same tasks on every start)
    _assign(Cast(portal, users, projects, now, dice), company)


def _hire(portal: Portal, people: Sequence[Person]) -> dict[int, User]:
    users = {
        person.number: User.objects.create(
            portal=portal,
            number=person.number,
            name=person.name,
            last_name=person.last_name,
            position=person.position,
            zone=portal.zone,
            language=person.language,
            is_admin=person.is_admin,
        )
        for person in people
    }
    for person in people:
        if person.boss:
            User.objects.filter(pk=users[person.number].pk).update(boss=users[person.boss])
    return users


def _start(portal: Portal, group: Group, users: dict[int, User]) -> Project:
    project = Project.objects.create(portal=portal, number=group.number, name=group.name)
    project.members.set([users[number] for number in group.members])
    project.editors.set([users[number] for number in group.editors])
    return project


@dataclass
class Cast:
    """The people and projects of one portal, and the dice that deal tasks to them."""

    portal: Portal
    users: dict[int, User]
    projects: Projects
    now: datetime
    dice: random.Random


def _assign(cast: Cast, company: Company) -> None:
    """Create the company's tasks in random order, so that neighbours in a list differ."""
    sorts = [sort for sort in company.sorts for _ in range(sort.count)]
    cast.dice.shuffle(sorts)
    titles = cast.dice.sample(company.titles, len(sorts))
    numbers = _numbers(cast.dice)
    tasks = [
        _task(cast, next(numbers), title, sort, (cast.now - age).replace(hour=9))
        for title, sort, age in zip(titles, sorts, _ages(len(sorts)), strict=True)
    ]
    pairs = list(zip(Task.objects.bulk_create(tasks), sorts, strict=True))
    _join(Task.accomplices.through, [(task, cast.users[n]) for task, sort in pairs for n in sort.accomplices])
    _join(Task.auditors.through, [(task, cast.users[n]) for task, sort in pairs for n in sort.auditors])


def _numbers(dice: random.Random) -> Iterator[int]:
    """Rising task numbers with gaps, because tasks get deleted in real life."""
    number = FIRST_TASK
    while True:
        yield number
        number += dice.choice((1, 1, 1, 2, 3))


def _ages(count: int) -> list[timedelta]:
    """Ages from eight months down to a day: a smaller task number is an older task."""
    return [timedelta(days=1 + 240 * (count - 1 - index) // count) for index in range(count)]


def _task(cast: Cast, number: int, title: str, sort: Sort, created: datetime) -> Task:
    dice, now = cast.dice, cast.now
    creator, responsible = cast.users[dice.choice(sort.creators)], cast.users[sort.responsible]
    # All events of a task lie between its creation and now.
    changed = created + (now - created) * dice.uniform(0.1, 0.95)
    started = sort.status in (IN_PROGRESS, AWAITING_CONTROL, COMPLETED)
    return Task(
        portal=cast.portal,
        number=number,
        title=title,
        status=sort.status,
        priority=2 if dice.random() < 0.08 else 1,
        creator=creator,
        responsible=responsible,
        project=_project(cast.projects, (sort.responsible, creator.number), dice),
        deadline=_deadline(now, dice),
        task_control=sort.status == AWAITING_CONTROL or dice.random() < 0.2,
        created_date=created,
        changed_date=changed,
        activity_date=changed + (now - changed) * dice.random(),
        status_changed_date=changed,
        status_changed_by=responsible if started else creator,
        date_start=created + (changed - created) * 0.5 if started else None,
        closed_date=changed if sort.status == COMPLETED else None,
    )


def _project(projects: Projects, people: tuple[int, int], dice: random.Random) -> Project | None:
    """A project with both people as members, or None: four in ten tasks belong to no project."""
    if dice.random() < 0.4:
        return None
    common = [project for project, members in projects if members.issuperset(people)]
    return dice.choice(common) if common else None


def _deadline(now: datetime, dice: random.Random) -> datetime | None:
    """A deadline in working hours (past, near or far), or None."""
    low, high = dice.choice(((-120, -1), (-10, -1), (0, 3), (1, 7), (8, 90), (0, 0)))
    if (low, high) == (0, 0):
        return None
    day = now + timedelta(days=dice.randint(low, high))
    return day.replace(hour=dice.choice((8, 11, 14, 17)))


def _join(through: type[models.Model], pairs: Sequence[tuple[Task, User]]) -> None:
    through._default_manager.bulk_create(through(task=task, user=user) for task, user in pairs)
