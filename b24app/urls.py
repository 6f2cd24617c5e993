"""Every address on one screen."""

from django.urls import path, re_path

from b24app.web import about, active, events, health, install, jobs, oauth, opening, orphans, selecting

urlpatterns = [
    # A portal opens us in its frame; everybody else reads what Defer is.
    path("", about.home, name="home"),
    path("placement/", opening.placement, name="placement"),
    path("opening/", opening.rest, name="opening"),
    path("ticket/", opening.renew_ticket, name="ticket"),
    path("install/", install.install, name="install"),
    path("install/scope/", install.install_scope, name="install-scope"),
    path("install/bind/", install.install_bind, name="install-bind"),
    path("events/", events.receive, name="events"),
    # A person connects from outside a frame; the portal sends them back to "/" with a code.
    path("oauth/start/", oauth.start, name="oauth-start"),
    # Our own page asks for these, with a ticket.
    path("tasks/", active.show, name="tasks"),
    path("selections/", selecting.select, name="selections"),
    path("selections/<uuid:selection_id>/", selecting.watch, name="selection"),
    path("jobs/", jobs.create, name="jobs"),
    path("jobs/latest/", jobs.latest, name="job-latest"),
    path("jobs/<int:job_id>/", jobs.watch, name="job"),
    path("jobs/<int:job_id>/dismiss/", jobs.dismiss, name="job-dismiss"),
    path("jobs/<int:job_id>/stop/", jobs.stop, name="job-stop"),
    path("jobs/<int:job_id>/undo/", jobs.undo, name="job-undo"),
    re_path(r"^jobs/(?P<job_id>\d{1,18})/again/(?P<what>failed|cancelled)/$", jobs.again, name="job-again"),
    path("owed/take-over/", orphans.adopt, name="owed-take-over"),
    path("owed/forget/", orphans.discard, name="owed-forget"),
    path("owed/return/", orphans.return_all, name="owed-return"),
    # Machines ask for these.
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
