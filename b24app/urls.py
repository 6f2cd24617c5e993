"""Every address on one screen."""

from django.urls import path, re_path

from b24app.web import about, active, events, health, install, jobs, oauth, opening, orphans, selecting

urlpatterns = [
    # A portal opens the app in its frame; other visitors read what Defer is.
    path("", about.home, name="home"),
    path("placement/", opening.open_app, name="placement"),
    path("opening/", opening.complete, name="opening"),
    path("ticket/", opening.issue_ticket, name="ticket"),
    path("install/", install.install, name="install"),
    path("install/scope/", install.install_scope, name="install-scope"),
    path("install/bind/", install.install_bind, name="install-bind"),
    path("events/", events.receive, name="events"),
    # A person connects from outside a frame; the portal sends them back to "/" with a code.
    path("oauth/start/", oauth.start, name="oauth-start"),
    # Our own page calls these, with a ticket.
    path("tasks/", active.show, name="tasks"),
    path("selections/", selecting.select, name="selections"),
    path("selections/<uuid:selection_id>/", selecting.watch, name="selection"),
    path("jobs/", jobs.create, name="jobs"),
    path("jobs/latest/", jobs.latest, name="job-latest"),
    path("jobs/<int:job_id>/", jobs.watch, name="job"),
    path("jobs/<int:job_id>/dismiss/", jobs.dismiss, name="job-dismiss"),
    path("jobs/<int:job_id>/stop/", jobs.stop, name="job-stop"),
    path("jobs/<int:job_id>/undo/", jobs.undo, name="job-undo"),
    re_path(r"^jobs/(?P<job_id>\d{1,18})/retry/(?P<what>failed|cancelled)/$", jobs.retry, name="job-retry"),
    path("orphans/adopt/", orphans.adopt, name="orphans-adopt"),
    path("orphans/discard/", orphans.discard, name="orphans-discard"),
    path("orphans/return/", orphans.return_all, name="orphans-return"),
    # Monitors ask for these.
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
