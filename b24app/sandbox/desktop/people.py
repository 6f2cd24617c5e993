"""Choosing a person and a language."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from ..portal.models import User
from ..portal.statuses import IN_PROGRESS
from . import words
from .desk import LANGUAGES, Desk, at_desk, back, cookie_name, cookie_number, portal_of, user_number


@require_GET
def front(request: HttpRequest) -> HttpResponse:
    """The person's task list, or the page that asks who the visitor is."""
    portal = portal_of(request)
    user = portal.users.filter(number=cookie_number(request, portal), active=True).first()
    if user is not None:
        return redirect(f"/company/personal/user/{user.number}/tasks/")
    context = {
        "portal": portal,
        "language": portal.language,
        "w": words.words_for(portal.language),
        "people": [(person, role_words(person)) for person in portal.users.filter(active=True).order_by("pk")],
    }
    return render(request, "desktop/templates/people.html", context)


def role_words(user: User) -> str:
    """The person's role at this portal, in the portal's language."""
    w = words.words_for(user.portal.language)
    if user.is_admin:
        return w["admin"]
    if subordinates := [person.full_name for person in user.subordinates.all()]:
        return w["boss_of"].format(", ".join(subordinates))
    if edited := [project.name for project in user.edited_projects.all()]:
        return w["moderator_of"].format(", ".join(edited))
    return (
        w["ordinary"]
        if user.own_tasks.filter(status=IN_PROGRESS).count() > user.audited_tasks.count()
        else w["outsider"]
    )


@require_POST
def become(request: HttpRequest) -> HttpResponse:
    portal = portal_of(request)
    user = get_object_or_404(portal.users, number=user_number(request.POST.get("number", "")), active=True)
    answer = redirect(f"/company/personal/user/{user.number}/tasks/")
    answer.set_cookie(cookie_name(portal), str(user.number), samesite="Lax", httponly=True)
    return answer


@require_POST
@at_desk
def speak(request: HttpRequest, desk: Desk) -> HttpResponse:
    language = request.POST.get("language", "")
    if language not in LANGUAGES:
        raise Http404("No such language.")
    User.objects.filter(pk=desk.user.pk).update(language=language)
    return back(request)
