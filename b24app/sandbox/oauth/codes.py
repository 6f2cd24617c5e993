"""Authorization codes: a portal issues them, and the authorization server exchanges each once for a pair of tokens."""

import secrets

from ..portal import clock
from ..portal.models import Installation, User

CODE_LIFETIME = 30  # seconds

codes: dict[str, tuple[int, int, float]] = {}  # code -> row ids of installation and user, time of expiry


def issue_code(installation: Installation, user: User) -> str:
    """A new code, as a portal's /oauth/authorize/ issues it."""
    code = secrets.token_hex(35)
    codes[code] = (installation.pk, user.pk, clock.seconds() + CODE_LIFETIME)
    return code


def spend_code(code: str) -> tuple[Installation, User] | None:
    """Use up the code. None if it is unknown, used or expired."""
    installation_id, user_id, dies = codes.pop(code, (0, 0, 0.0))
    installation = Installation.objects.select_related("portal", "app").filter(pk=installation_id).first()
    if installation is None or dies < clock.seconds():
        return None
    return installation, User.objects.get(pk=user_id)
