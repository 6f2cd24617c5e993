"""What a portal knows: people, projects, tasks, installed apps, tokens; and what only we know: the truth log.

Numbers that a portal shows (`number` of a user, project, task) are unique inside one portal only, so that the
same id means different things at two portals, as in real life.
"""

import secrets

from django.db import models

from . import clock


def hex32() -> str:
    return secrets.token_hex(16)


class Portal(models.Model):
    """One pretend Bitrix24, told apart by the host (with port) it is called at."""

    key = models.SlugField(unique=True)  # for the control interface: "acme", "umbrella", "oldbox"
    host = models.CharField(max_length=255, unique=True)  # "localhost:8800"
    member_id = models.CharField(max_length=32, unique=True, default=hex32)
    name = models.CharField(max_length=100)
    language = models.CharField(max_length=5, default="en")
    zone = models.CharField(max_length=50, default="Europe/Berlin")
    license_family = models.CharField(max_length=20, default="basic")  # "ent" is Enterprise
    deleted = models.BooleanField(default=False)
    rest_allowed = models.BooleanField(default=True)  # by its commercial plan
    first_host = models.CharField(max_length=255)  # where it lived before any move


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
    """A workgroup ("group" in the wire's words)."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="projects")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    members = models.ManyToManyField(User, related_name="projects")
    editors = models.ManyToManyField(User, related_name="edited_projects")  # group right "edit tasks"

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
    time_spent = models.PositiveIntegerField(default=0)  # seconds, without timers that run

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "number"], name="one_task_per_number")]


class Label(models.Model):
    """A tag of a task, or a CRM entity that it is bound to ("D_12")."""

    TAG, CRM = "tag", "crm"
    task = models.ForeignKey(Task, models.CASCADE, related_name="labels")
    kind = models.CharField(max_length=3, choices=[(TAG, TAG), (CRM, CRM)])
    name = models.CharField(max_length=100)


class Timer(models.Model):
    """Runs now; a person has one at most."""

    user = models.OneToOneField(User, models.CASCADE, related_name="timer")
    task = models.ForeignKey(Task, models.CASCADE, related_name="timers")
    started_at = models.FloatField()


class History(models.Model):
    """One changed field of a task, as its card tells it. (What is true of statuses is in Change.)"""

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
    """What im.notify.* put under somebody's bell; `sender` None: the system."""

    user = models.ForeignKey(User, models.CASCADE, related_name="notifications")
    sender = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    message = models.TextField()
    tag = models.CharField(max_length=255, blank=True)
    at = models.DateTimeField(default=clock.now)


class App(models.Model):
    """An application registered at the vendor; one row serves every portal."""

    client_id = models.CharField(max_length=100, unique=True)
    client_secret = models.CharField(max_length=100)
    code = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    origin = models.URLField()  # scheme://host[:port] of the app; the desktop talks only to this origin
    main_path = models.CharField(max_length=200, default="/")
    installer_path = models.CharField(max_length=200, default="/install/")
    scope = models.CharField(max_length=200, default="task,placement,user_brief,im")


class Installation(models.Model):
    """An app at a portal. `installed` is what installFinish sets; `active` is what uninstalling clears."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="installations")
    app = models.ForeignKey(App, models.CASCADE, related_name="installations")
    active = models.BooleanField(default=True)
    installed = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=1, default="F")
    scope = models.CharField(max_length=200)  # granted here; may be narrower than the app's
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
    """What an app keeps at the portal by setUserOption, or (no user) by setAppOption."""

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
    """One pair of one chain. A refresh spends it and creates the next; both halves die with it."""

    installation = models.ForeignKey(Installation, models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    chain = models.CharField(max_length=32, default=hex32)
    access = models.CharField(max_length=70, unique=True)
    refresh = models.CharField(max_length=70, unique=True)
    expires = models.FloatField()  # of the access token, unix seconds
    refresh_expires = models.FloatField()
    spent_at = models.FloatField(null=True)  # refreshed: the pair is dead
    revoked = models.BooleanField(default=False)
    cached_until = models.FloatField(default=0)  # so long the portal believes its last check of the access token


class Webhook(models.Model):
    """An incoming webhook: /rest/UID/SECRET/method."""

    user = models.ForeignKey(User, models.CASCADE, related_name="webhooks")
    secret = models.CharField(max_length=32, unique=True)
    scope = models.CharField(max_length=200, default="task")


class Request(models.Model):
    """Everything that reached a portal's REST or the OAuth server. Tokens appear by their row's id only."""

    at = models.FloatField(db_index=True)
    portal = models.ForeignKey(Portal, models.CASCADE, null=True, related_name="requests")  # None: OAuth server
    method = models.CharField(max_length=100)  # "batch", "tasks.task.list", "oauth/token", "oauth/app.info"
    token = models.ForeignKey(Token, models.SET_NULL, null=True)
    user = models.ForeignKey(User, models.SET_NULL, null=True)
    commands = models.JSONField(default=list)  # of a batch: [[key, method, params, code-or-""], ...]
    params = models.JSONField(default=dict)  # without credentials
    status = models.PositiveIntegerField(null=True)  # None: the connection was dropped
    code = models.CharField(max_length=100, blank=True)
    milliseconds = models.FloatField(default=0)


class Change(models.Model):
    """The truth log: a real status changed. What did not change the status is not here."""

    at = models.FloatField(db_index=True)
    portal = models.ForeignKey(Portal, models.CASCADE, related_name="changes")
    task = models.PositiveIntegerField()  # its number
    before = models.PositiveSmallIntegerField()
    after = models.PositiveSmallIntegerField()
    user = models.ForeignKey(User, models.SET_NULL, null=True)
    token = models.ForeignKey(Token, models.SET_NULL, null=True)  # None: by hand, a webhook, or the control interface
    method = models.CharField(max_length=50)
    request = models.ForeignKey(Request, models.SET_NULL, null=True)


class Fault(models.Model):
    """A rule: what goes wrong with calls of `method` at `portal` (None: everywhere), `times` times."""

    portal = models.ForeignKey(Portal, models.CASCADE, null=True, related_name="faults")
    method = models.CharField(max_length=100)  # exact, or "*"; "oauth/token" is the OAuth server's
    kind = models.CharField(max_length=50)
    options = models.JSONField(default=dict)
    times = models.IntegerField(default=1)  # -1: until removed
    skip = models.IntegerField(default=0)  # let so many matching calls pass first
    probability = models.FloatField(default=1)
    seed = models.IntegerField(null=True)


class Setting(models.Model):
    """Knobs that the control interface turns while running: limits, costs, lifetimes, traps."""

    key = models.CharField(max_length=100, unique=True)
    value = models.JSONField()
