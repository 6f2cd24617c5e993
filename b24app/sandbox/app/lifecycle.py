"""An app's life at a portal: installed, finished, updated, paid for, uninstalled; what each tells the app."""

from ..portal import knobs
from ..portal.models import App, Installation, Portal
from . import events


def install(portal: Portal, app: App) -> Installation:
    """Install the app, again or for the first time; its installer page has to run before it is finished."""
    installation, _ = Installation.objects.get_or_create(portal=portal, app=app, defaults={"scope": app.scope})
    installation.scope = app.scope
    return unfinish(installation)


def update(installation: Installation) -> Installation:
    """Install the next version over this one: the installer page opens again. No event tells of it."""
    installation.version += 1
    if not knobs.knob("update.keeps_bindings", installation.portal.key):
        installation.event_handlers.all().delete()
        installation.placements.all().delete()
    return unfinish(installation)


def unfinish(installation: Installation) -> Installation:
    """Every install and update forgets who asked for ONAPPINSTALL: the installer has to ask again."""
    if knobs.trap("install_event_is_asked_for_again", installation.portal.key):
        installation.event_handlers.filter(event="ONAPPINSTALL").delete()
    installation.active, installation.installed = True, False
    installation.save()
    return installation


def finish(installation: Installation) -> None:
    """What installFinish does: from now on placements are shown and events delivered."""
    installation.installed = True
    installation.save(update_fields=["installed"])
    user = installation.portal.users.filter(is_admin=True).order_by("number").first()
    data = {
        "VERSION": str(installation.version),
        "ACTIVE": "Y",
        "INSTALLED": "Y",
        "LANGUAGE_ID": installation.portal.language,
    }
    events.send(installation, "ONAPPINSTALL", data, user, with_refresh=True)


def pay(installation: Installation, status: str, *, expired: bool, days: int) -> None:
    """The subscription changed: paid, or run out."""
    installation.status, installation.payment_expired = status, expired
    installation.save(update_fields=["status", "payment_expired"])
    if not installation.installed:
        return
    data = {
        "CODE": installation.app.code,
        "VERSION": str(installation.version),
        "STATUS": status,
        "PAYMENT_EXPIRED": "Y" if expired else "N",
        "DAYS": str(days),
    }
    events.send(installation, "ONAPPPAYMENT", data, user=None)


def uninstall(installation: Installation, *, clean: bool = True) -> None:
    """Remove the app: the event first, then the bindings, then the app itself and all its tokens.

    An installation that was never finished, or is not paid for, vanishes without an event. The application token
    stays the same for the next installation.
    """
    finished = installation.installed or not knobs.trap("no_event_before_finish", installation.portal.key)
    if installation.active and finished and not installation.payment_expired:
        data = {"LANGUAGE_ID": installation.portal.language, "CLEAN": "1" if clean else "0"}
        events.send(installation, "ONAPPUNINSTALL", data, user=None)
    installation.placements.all().delete()
    installation.event_handlers.all().delete()
    installation.active = installation.installed = False
    installation.save(update_fields=["active", "installed"])
    if knobs.trap("uninstall_revokes_tokens", installation.portal.key):
        installation.tokens.update(revoked=True)
