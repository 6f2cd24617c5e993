"""The public page, which is also the address that Bitrix24 opens and returns people to."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from b24app.web import oauth, opening


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """The public page; posted to by a portal, the app; with a code, the way back from a portal."""
    if request.method == "POST":
        return opening.open_app(request)
    if request.method == "GET" and {"code", "state"} <= request.GET.keys():
        return oauth.come_back(request)
    return render(request, "about.html")
