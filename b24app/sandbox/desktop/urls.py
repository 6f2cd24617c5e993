"""The addresses of the desktop: those of Bitrix24, if it has them."""

from pathlib import Path

from django.urls import path
from django.views.static import serve

from . import authorize, cards, frames, lists, market, pages, people

STATIC = Path(__file__).resolve().parent / "static"

urlpatterns = [
    path("", people.front),
    path("company/personal/user/<int:number>/tasks/", lists.user_tasks),
    path("company/personal/user/<int:owner>/tasks/task/view/<int:number>/", cards.user_task),
    path("workgroups/", lists.projects),
    path("workgroups/group/<int:number>/tasks/", lists.group_tasks),
    path("workgroups/group/<int:group>/tasks/task/view/<int:number>/", cards.group_task),
    path("marketplace/", market.market),
    path("marketplace/app/<str:code>/", pages.app_page),
    path("marketplace/app/<str:code>/install/", market.install),
    path("marketplace/app/<str:code>/uninstall/", market.uninstall),
    path("marketplace/view/<str:code>/", pages.app_link),
    path("oauth/authorize/", authorize.authorize),
    # Only the sandbox has these; a real portal does the same in other ways.
    path("desktop/become/", people.become),
    path("desktop/language/", people.speak),
    path("desktop/tasks/<int:number>/<str:action>/", cards.act),
    path("desktop/pulse/", cards.pulse),
    path("desktop/frame/", frames.open_frame),
    path("desktop/frame/refresh/", frames.refresh),
    path("desktop/frame/finish/", frames.finish),
    path("desktop/frame/option/", frames.store_option),
    path("desktop/people/", frames.people),
    path("desktop/static/<path:path>", serve, {"document_root": STATIC}),
]
