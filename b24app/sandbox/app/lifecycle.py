"""The life of an app at a portal: install, finish, update, pay, uninstall, and the event that each sends."""

from ..portal import knobs
from ..portal.models import App, Installation, Portal
from . import events


def install(portal: Portal, app: App) -> Installation:
    """Install the app, again or for the first time. The installer page must run before the installation is finished."""
    installation, _ = Installation.objects.get_or_create(portal=portal, app=app, defaults={"scope": app.scope})
    installation.scope = app.scope
    return unfinish(installation)


def update(installation: Installation) -> Installation:
    """Install the next version over this one. The installer page opens again; no event is sent."""
    installation.version += 1
    if not knobs.knob("update.keeps_bindings", installation.portal.key):
        installation.event_handlers.all().delete()
        installation.placements.all().delete()
    return unfinish(installation)


def unfinish(installation: Installation) -> Installation:
    """Mark the installation as unfinished. Its handlers of ONAPPINSTALL are removed: the installer binds them again."""
    if knobs.trap("install_event_is_asked_for_again", installation.portal.key):
        installation.event_handlers.filter(event="ONAPPINSTALL").delete()
    installation.active, installation.installed = True, False
    installation.save()
    return installation


def finish(installation: Installation) -> None:
    """Do what installFinish does: from now on the portal shows placements and sends events."""
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
    """Change the subscription (paid or expired) and send ONAPPPAYMENT."""
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
    """Send ONAPPUNINSTALL, then remove the bindings, the app and all its tokens.

    An installation that was never finished, or is not paid for, is removed without an event. The application token
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
