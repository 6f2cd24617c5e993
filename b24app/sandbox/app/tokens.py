"""OAuth tokens: their form, and the chain of pairs that refreshing makes."""

import secrets

from ..portal import clock, knobs
from ..portal.models import Installation, Token, User

BELIEVED = 3600  # seconds for which a portal trusts its last check of an access token


def mint(expires: float, user_number: int) -> str:
    """A token of 70 hex characters. Like a real one it contains the expiry and the user's id; apps must not read it."""
    stamp = int(expires).to_bytes(4, "little").hex()
    return stamp + secrets.token_hex(8) + user_number.to_bytes(4, "big").hex() + secrets.token_hex(19)


def open_chain(installation: Installation, user: User) -> Token:
    """Issue the first pair of a new chain. Every opening of a page starts a chain."""
    return issue(installation, user, secrets.token_hex(16))


def issue(installation: Installation, user: User, chain: str) -> Token:
    key = installation.portal.key
    expires = clock.seconds() + float(knobs.knob("access_lifetime", key))
    refresh_expires = clock.seconds() + float(knobs.knob("refresh_lifetime", key))
    return Token.objects.create(
        installation=installation,
        user=user,
        chain=chain,
        access=mint(expires, user.number),
        refresh=mint(refresh_expires, user.number),
        expires=expires,
        refresh_expires=refresh_expires,
    )


def spend(token: Token) -> Token | None:
    """Use the refresh token: kill the pair and return the next one of the chain, or None if it was used before.

    Of several callers at the same time, exactly one gets the next pair.
    """
    unspent = Token.objects.filter(pk=token.pk, revoked=False, refresh_expires__gt=clock.seconds())
    if knobs.trap("single_use_refresh", token.installation.portal.key):
        unspent = unspent.filter(spent_at=None)
    if not unspent.update(spent_at=clock.seconds()):
        return None
    return issue(token.installation, token.user, token.chain)


def is_dead(token: Token) -> bool:
    """Whether a refresh or a revocation killed the access token. Expiry does not count."""
    spent = token.spent_at is not None
    if not knobs.trap("access_dies_with_refresh", token.installation.portal.key):
        spent = False
    return token.revoked or spent


def believe(token: Token) -> None:
    """Note that the portal has checked the token with the authorization server. It checks again after an hour."""
    if not is_believed(token):
        Token.objects.filter(pk=token.pk).update(cached_until=clock.seconds() + BELIEVED)


def is_believed(token: Token) -> bool:
    return token.cached_until > clock.seconds()
