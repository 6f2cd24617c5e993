"""Addresses of a portal's desktop; those of Bitrix24 where it has them."""

from pathlib import Path

from django.urls import path
from django.views.static import serve

from . import authorize, desktop, desktop_apps, desktop_tasks

STATIC = Path(__file__).resolve().parent / "static"

urlpatterns = [
    path("", desktop.front),
    path("company/personal/user/<int:number>/tasks/", desktop_tasks.user_tasks),
    path("company/personal/user/<int:owner>/tasks/task/view/<int:number>/", desktop_tasks.user_task),
    path("workgroups/", desktop_tasks.projects),
    path("workgroups/group/<int:number>/tasks/", desktop_tasks.group_tasks),
    path("workgroups/group/<int:group>/tasks/task/view/<int:number>/", desktop_tasks.group_task),
    path("marketplace/", desktop_apps.market),
    path("marketplace/app/<str:code>/", desktop_apps.app_page),
    path("marketplace/app/<str:code>/install/", desktop_apps.install),
    path("marketplace/app/<str:code>/uninstall/", desktop_apps.uninstall),
    path("marketplace/view/<str:code>/", desktop_apps.app_link),
    path("oauth/authorize/", authorize.authorize),
    # Ours alone: a real portal does these in its own ways.
    path("desktop/become/", desktop.become),
    path("desktop/language/", desktop.speak),
    path("desktop/tasks/<int:number>/<str:action>/", desktop_tasks.act),
    path("desktop/pulse/", desktop_tasks.pulse),
    path("desktop/frame/", desktop_apps.open_frame),
    path("desktop/frame/refresh/", desktop_apps.refresh),
    path("desktop/frame/finish/", desktop_apps.finish),
    path("desktop/frame/option/", desktop_apps.keep_option),
    path("desktop/people/", desktop_apps.people),
    path("desktop/static/<path:path>", serve, {"document_root": STATIC}),
]
