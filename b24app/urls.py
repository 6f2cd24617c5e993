"""Every address on one screen."""

from django.urls import path, re_path

from b24app.web import jobs, lifecycle, lists, owed, reconnect

urlpatterns = [
    # A portal opens us in its frame; everybody else reads what Defer is.
    path("", lifecycle.home, name="home"),
    path("placement/", lifecycle.placement, name="placement"),
    path("opening/", lifecycle.opening, name="opening"),
    path("ticket/", lifecycle.ticket, name="ticket"),
    path("install/", lifecycle.install, name="install"),
    path("install/scope/", lifecycle.install_scope, name="install-scope"),
    path("install/bind/", lifecycle.install_bind, name="install-bind"),
    path("events/", lifecycle.events, name="events"),
    # A person connects from outside a frame; the portal sends them back to "/" with a code.
    path("oauth/start/", reconnect.start, name="oauth-start"),
    # Our own page asks for these, with a ticket.
    path("tasks/", lists.listing, name="tasks"),
    path("selections/", lists.select, name="selections"),
    path("selections/<uuid:selection_id>/", lists.selection, name="selection"),
    path("jobs/", jobs.create, name="jobs"),
    path("jobs/latest/", jobs.latest, name="job-latest"),
    path("jobs/<int:job_id>/", jobs.watch, name="job"),
    path("jobs/<int:job_id>/dismiss/", jobs.dismiss, name="job-dismiss"),
    path("jobs/<int:job_id>/stop/", jobs.stop, name="job-stop"),
    path("jobs/<int:job_id>/undo/", jobs.undo, name="job-undo"),
    re_path(r"^jobs/(?P<job_id>\d{1,18})/again/(?P<what>failed|cancelled)/$", jobs.again, name="job-again"),
    path("owed/take-over/", owed.take_over, name="owed-take-over"),
    path("owed/forget/", owed.forget, name="owed-forget"),
    path("owed/return/", owed.return_all, name="owed-return"),
    # Machines ask for these.
    path("healthz", lifecycle.healthz, name="healthz"),
    path("readyz", lifecycle.readyz, name="readyz"),
]
