"""The public page. Bitrix24 opens the app at the same address, and returns people to it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from b24app.web import oauth, opening


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """GET: the public page. POST by a portal: the app. GET with a code: a person comes back from their portal."""
    if request.method == "POST":
        return opening.open_app(request)
    if request.method == "GET" and {"code", "state"} <= request.GET.keys():
        return oauth.come_back(request)
    return render(request, "about.html")
