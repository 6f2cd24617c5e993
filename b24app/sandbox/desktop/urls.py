"""Addresses of a portal's desktop; those of Bitrix24 where it has them."""

from pathlib import Path

from django.urls import path
from django.views.static import serve

from . import apps, authorize, desk, tasks

STATIC = Path(__file__).resolve().parent / "static"

urlpatterns = [
    path("", desk.front),
    path("company/personal/user/<int:number>/tasks/", tasks.user_tasks),
    path("company/personal/user/<int:owner>/tasks/task/view/<int:number>/", tasks.user_task),
    path("workgroups/", tasks.projects),
    path("workgroups/group/<int:number>/tasks/", tasks.group_tasks),
    path("workgroups/group/<int:group>/tasks/task/view/<int:number>/", tasks.group_task),
    path("marketplace/", apps.market),
    path("marketplace/app/<str:code>/", apps.app_page),
    path("marketplace/app/<str:code>/install/", apps.install),
    path("marketplace/app/<str:code>/uninstall/", apps.uninstall),
    path("marketplace/view/<str:code>/", apps.app_link),
    path("oauth/authorize/", authorize.authorize),
    # Ours alone: a real portal does these in its own ways.
    path("desktop/become/", desk.become),
    path("desktop/language/", desk.speak),
    path("desktop/tasks/<int:number>/<str:action>/", tasks.act),
    path("desktop/pulse/", tasks.pulse),
    path("desktop/frame/", apps.open_frame),
    path("desktop/frame/refresh/", apps.refresh),
    path("desktop/frame/finish/", apps.finish),
    path("desktop/frame/option/", apps.keep_option),
    path("desktop/people/", apps.people),
    path("desktop/static/<path:path>", serve, {"document_root": STATIC}),
]
