"""Who calls: the checks of tokens, scopes and incoming webhooks, in a portal's order."""

from ..app import tokens
from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import Portal, Request, Token, Webhook
from .call import METHODS, Call, Method, Params
from .hosts import PortalRequest
from .parameters import Address, read_key


def authenticate(request: PortalRequest, address: Address, params: Params, row: Request) -> Call:
    """Find out who calls, and note it in the log's row. Raises RestError, in the portal's order of checks."""
    portal = request.portal
    if "token" in params and knobs.trap("token_parameter_is_a_link", portal.key):
        raise RestError(401, "invalid_token", "Invalid signed link")
    if address.secret:
        return by_webhook(portal, address, row)
    key = read_key(request, params)
    if not key:
        raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    known = Token.objects.select_related("installation__portal", "installation__app", "user__portal")
    token = known.filter(access=key, installation__portal=portal).first()
    if token is None:
        raise RestError(401, "invalid_token", "Unable to get application by token")
    row.token, row.user = token, token.user
    check_token(token, METHODS.get(address.method.lower()))
    tokens.believe(token)
    return Call(
        portal=portal,
        user=token.user,
        installation=token.installation,
        token=token,
        scope=scope_of(token),
        request=row,
    )


def scope_of(token: Token) -> set[str]:
    return set(token.installation.scope.split(","))


def check_token(token: Token, method: Method | None) -> None:
    """Raise RestError if the token may not call the method (None: an unknown one), in the portal's order of checks."""
    installation, key = token.installation, token.installation.portal.key
    if not installation.portal.rest_allowed:
        text = "REST is available only on commercial plans."
        raise RestError(knobs.knob("status.plan", key), "ACCESS_DENIED", text)
    check_installed(token)
    if tokens.is_dead(token):
        raise RestError(401, "invalid_token", "Unable to get application by token")
    if installation.payment_expired:
        raise RestError(401, "PAYMENT_REQUIRED", "Subscription has been ended")
    if token.expires <= clock.seconds():
        raise RestError(401, "expired_token", "The access token provided has expired.")
    if method:
        check_scope(method, scope_of(token))
    if not token.user.active:
        raise RestError(401, "authorization_error", "Unable to authorize user")
    if not token.user.may_use_app:
        text = "The user does not have access to the application."
        raise RestError(knobs.knob("status.user_access_error", key), "user_access_error", text)


def check_installed(token: Token) -> None:
    """Raise RestError after an uninstall. A portal still knows the app of a token that it checked a short time ago."""
    if token.installation.active:
        return
    if tokens.is_believed(token) or not knobs.trap("token_checks_are_cached", token.installation.portal.key):
        raise RestError(401, "APPLICATION_NOT_FOUND", "Application not found")
    raise RestError(401, "ERROR_OAUTH", "Application not installed")


def check_scope(method: Method, scope: set[str], *, quiet: bool = False) -> None:
    """Raise insufficient_scope if the method needs another scope; `quiet` leaves out the description."""
    if not method.permitted(scope):
        text = "The request requires higher privileges than provided by the access token"
        raise RestError(401, "insufficient_scope", "" if quiet else text)


def by_webhook(portal: Portal, address: Address, row: Request) -> Call:
    hooks = Webhook.objects.select_related("user__portal")
    hook = hooks.filter(user__portal=portal, user__number=address.uid, secret=address.secret).first()
    if hook is None:
        raise RestError(401, "INVALID_CREDENTIALS", "Invalid request credentials")
    row.user = hook.user
    scope = set(hook.scope.split(","))
    return Call(portal=portal, user=hook.user, installation=None, token=None, scope=scope, request=row)
