"""Openings whose portal has not answered in time: kept for a minute, and given back once for a code."""

import hashlib
import json
import secrets
from dataclasses import asdict
from datetime import datetime, timedelta

from b24app import clock, vault
from b24app.bitrix.payloads import Opening
from b24app.models import PendingOpening

LIFE = timedelta(seconds=60)


def stash(opening: Opening, received_at: datetime) -> str:
    """Keep an opening until LIFE after it was received. Return the code that gives it back, once."""
    code = secrets.token_urlsafe(24)
    digest = _digest(code)
    PendingOpening.objects.create(
        code_digest=digest,
        sealed_payload=vault.seal(json.dumps(asdict(opening)), digest),
        expires_at=received_at + LIFE,
    )
    return code


def unstash(code: str) -> tuple[Opening, datetime] | None:
    """The opening for this code and the time it was received. None if it is too old or was given back before."""
    digest = _digest(code)
    pending = PendingOpening.objects.filter(code_digest=digest, expires_at__gt=clock.now()).first()
    if pending is None or not PendingOpening.objects.filter(pk=pending.pk).delete()[0]:
        return None
    opening = Opening(**json.loads(vault.unseal(pending.sealed_payload, digest)))
    return opening, pending.expires_at - LIFE


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
