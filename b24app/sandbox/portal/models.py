"""The tables: what a portal knows (people, projects, tasks, apps, tokens), and the logs that only the sandbox has.

The numbers that a portal shows (`number` of a user, project or task) are unique within one portal only. The same
number means different rows at two portals, as in real life.
"""

import secrets

from django.db import models

from . import clock


def hex32() -> str:
    return secrets.token_hex(16)


class Portal(models.Model):
    """One pretend Bitrix24. The host (with port) of a request tells which."""

    key = models.SlugField(unique=True)  # for the control interface: "acme", "umbrella", "oldbox"
    host = models.CharField(max_length=255, unique=True)  # "localhost:8800"
    member_id = models.CharField(max_length=32, unique=True, default=hex32)
    name = models.CharField(max_length=100)
    language = models.CharField(max_length=5, default="en")
    zone = models.CharField(max_length=50, default="Europe/Berlin")
    license_family = models.CharField(max_length=20, default="basic")  # "ent" is Enterprise
    deleted = models.BooleanField(default=False)
    rest_allowed = models.BooleanField(default=True)  # by its commercial plan
    first_host = models.CharField(max_length=255)  # its host before any rename


class User(models.Model):
    portal = models.ForeignKey(Portal, models.CASCADE, related_name="users")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=50)
    last_name = models.CharField(max_length=50)
    position = models.CharField(max_length=100, blank=True)
    zone = models.CharField(max_length=50, blank=True)
    language = models.CharField(max_length=5, blank=True)
    is_admin = models.BooleanField(default=False)
    active = models.BooleanField(default=True)
    may_use_app = models.BooleanField(default=True)
    boss = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="subordinates")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "number"], name="one_user_per_number")]

    @property
    def full_name(self) -> str:
        return f"{self.name} {self.last_name}".strip()


class Project(models.Model):
    """A workgroup (REST calls it a group)."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="projects")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    members = models.ManyToManyField(User, related_name="projects")
    editors = models.ManyToManyField(User, related_name="edited_projects")  # those with the group right "edit tasks"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "number"], name="one_project_per_number")]


class Task(models.Model):
    portal = models.ForeignKey(Portal, models.CASCADE, related_name="tasks")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    status = models.PositiveSmallIntegerField(default=2)  # the real status, 1..7
    priority = models.PositiveSmallIntegerField(default=1)
    creator = models.ForeignKey(User, models.CASCADE, related_name="created_tasks")
    responsible = models.ForeignKey(User, models.CASCADE, related_name="own_tasks")
    accomplices = models.ManyToManyField(User, related_name="helped_tasks")
    auditors = models.ManyToManyField(User, related_name="audited_tasks")
    project = models.ForeignKey(Project, models.SET_NULL, null=True, blank=True, related_name="tasks")
    deadline = models.DateTimeField(null=True, blank=True)
    task_control = models.BooleanField(default=False)
    unviewed_by = models.ManyToManyField(User, related_name="unviewed_tasks")  # makes the meta status -2
    created_date = models.DateTimeField(default=clock.now)
    changed_date = models.DateTimeField(default=clock.now)
    activity_date = models.DateTimeField(default=clock.now)
    status_changed_date = models.DateTimeField(default=clock.now)
    status_changed_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    date_start = models.DateTimeField(null=True, blank=True)
    closed_date = models.DateTimeField(null=True, blank=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="subtasks")
    depends_on = models.ManyToManyField("self", symmetrical=False, related_name="needed_by")
    mark = models.CharField(max_length=1, blank=True)  # P or N
    stage = models.PositiveIntegerField(default=0)
    sprint = models.PositiveIntegerField(default=0)
    backlog = models.PositiveIntegerField(default=0)
    allow_time_tracking = models.BooleanField(default=False)
    time_spent = models.PositiveIntegerField(default=0)  # seconds, without running timers

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "number"], name="one_task_per_number")]


class Label(models.Model):
    """A tag of a task, or a CRM entity that the task is bound to ("D_12")."""

    TAG, CRM = "tag", "crm"
    task = models.ForeignKey(Task, models.CASCADE, related_name="labels")
    kind = models.CharField(max_length=3, choices=[(TAG, TAG), (CRM, CRM)])
    name = models.CharField(max_length=100)


class Timer(models.Model):
    """A running timer; a person has at most one."""

    user = models.OneToOneField(User, models.CASCADE, related_name="timer")
    task = models.ForeignKey(Task, models.CASCADE, related_name="timers")
    started_at = models.FloatField()


class History(models.Model):
    """One changed field of a task, as its card shows it. (The sandbox's own log of statuses is Change.)"""

    task = models.ForeignKey(Task, models.CASCADE, related_name="history")
    at = models.DateTimeField(default=clock.now)
    user = models.ForeignKey(User, models.SET_NULL, null=True)
    field = models.CharField(max_length=50)
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)


class Comment(models.Model):
    task = models.ForeignKey(Task, models.CASCADE, related_name="comments")
    user = models.ForeignKey(User, models.CASCADE)
    text = models.TextField()
    at = models.DateTimeField(default=clock.now)


class Notification(models.Model):
    """A notification that im.notify.* added for a person; `sender` None is the system."""

    user = models.ForeignKey(User, models.CASCADE, related_name="notifications")
    sender = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    message = models.TextField()
    tag = models.CharField(max_length=255, blank=True)
    at = models.DateTimeField(default=clock.now)


class App(models.Model):
    """An application registered with the vendor; one row serves every portal."""

    client_id = models.CharField(max_length=100, unique=True)
    client_secret = models.CharField(max_length=100)
    code = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    origin = models.URLField()  # scheme://host[:port] of the app; the desktop talks only to this origin
    main_path = models.CharField(max_length=200, default="/")
    installer_path = models.CharField(max_length=200, default="/install/")
    scope = models.CharField(max_length=200, default="task,placement,user_brief,im")


class Installation(models.Model):
    """An app at a portal. installFinish sets `installed`; uninstalling clears `active`."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="installations")
    app = models.ForeignKey(App, models.CASCADE, related_name="installations")
    active = models.BooleanField(default=True)
    installed = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=1, default="F")
    scope = models.CharField(max_length=200)  # granted at this portal; may be narrower than the app's
    application_token = models.CharField(max_length=32, default=hex32)
    payment_expired = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "app"], name="one_installation")]


class Placement(models.Model):
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="placements")
    placement = models.CharField(max_length=50)
    handler = models.URLField(max_length=500)
    title = models.CharField(max_length=200, blank=True)
    lang_all = models.JSONField(default=dict)
    options = models.JSONField(default=dict)


class Option(models.Model):
    """A value that an app stores at the portal with setUserOption, or (no user) with setAppOption."""

    installation = models.ForeignKey(Installation, models.CASCADE, related_name="options")
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="app_options")
    name = models.CharField(max_length=100)
    value = models.JSONField(null=True)


class EventHandler(models.Model):
    installation = models.ForeignKey(Installation, models.CASCADE, related_name="event_handlers")
    event = models.CharField(max_length=50)
    handler = models.URLField(max_length=500)
    auth_type = models.PositiveIntegerField(default=0)


class Token(models.Model):
    """A pair of tokens in a chain. A refresh spends the pair, which kills both tokens, and creates the next one."""

    installation = models.ForeignKey(Installation, models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    chain = models.CharField(max_length=32, default=hex32)
    access = models.CharField(max_length=70, unique=True)
    refresh = models.CharField(max_length=70, unique=True)
    expires = models.FloatField()  # of the access token, unix seconds
    refresh_expires = models.FloatField()
    spent_at = models.FloatField(null=True)  # set by a refresh: the pair is dead
    revoked = models.BooleanField(default=False)
    cached_until = models.FloatField(default=0)  # until then the portal trusts its last check of the access token


class Webhook(models.Model):
    """An incoming webhook: /rest/UID/SECRET/method."""

    user = models.ForeignKey(User, models.CASCADE, related_name="webhooks")
    secret = models.CharField(max_length=32, unique=True)
    scope = models.CharField(max_length=200, default="task")


class Request(models.Model):
    """A request to a portal's REST interface or the OAuth server. It refers to tokens by row id only."""

    at = models.FloatField(db_index=True)
    portal = models.ForeignKey(Portal, models.CASCADE, null=True, related_name="requests")  # None: the OAuth server
    method = models.CharField(max_length=100)  # "batch", "tasks.task.list", "oauth/token", "oauth/app.info"
    token = models.ForeignKey(Token, models.SET_NULL, null=True)
    user = models.ForeignKey(User, models.SET_NULL, null=True)
    commands = models.JSONField(default=list)  # of a batch: [[key, method, params, code-or-""], ...]
    params = models.JSONField(default=dict)  # without credentials
    status = models.PositiveIntegerField(null=True)  # None: the connection was dropped
    code = models.CharField(max_length=100, blank=True)
    milliseconds = models.FloatField(default=0)


class Change(models.Model):
    """The truth log: one row for every change of a task's real status."""

    at = models.FloatField(db_index=True)
    portal = models.ForeignKey(Portal, models.CASCADE, related_name="changes")
    task = models.PositiveIntegerField()  # the task's number
    before = models.PositiveSmallIntegerField()
    after = models.PositiveSmallIntegerField()
    user = models.ForeignKey(User, models.SET_NULL, null=True)
    token = models.ForeignKey(Token, models.SET_NULL, null=True)  # None: a person, a webhook or the control interface
    method = models.CharField(max_length=50)
    request = models.ForeignKey(Request, models.SET_NULL, null=True)


class Fault(models.Model):
    """A rule: what goes wrong with calls of `method` at `portal` (None: everywhere), and how many times."""

    portal = models.ForeignKey(Portal, models.CASCADE, null=True, related_name="faults")
    method = models.CharField(max_length=100)  # exact, "*" or "batch/*"; "oauth/token" is one of the OAuth server
    kind = models.CharField(max_length=50)
    options = models.JSONField(default=dict)
    times = models.IntegerField(default=1)  # -1: until the fault is removed
    skip = models.IntegerField(default=0)  # how many matching calls pass first
    probability = models.FloatField(default=1)
    seed = models.IntegerField(null=True)


class Setting(models.Model):
    """A turned knob (see knobs.py), or the new host of a portal that moved (see wire/hosts.py)."""

    key = models.CharField(max_length=100, unique=True)
    value = models.JSONField()
