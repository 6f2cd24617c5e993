"""The languages of Defer: one row each. To add a language, add a row and its catalogue in locale/.

Titles of menu entries are translations of one text in these catalogues (portals/installation.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language of the screens."""

    code: str  # Bitrix24's code, in lower case
    locale: str  # the code of Django and of the folder in locale/
    name: str  # its own name for itself


ENGLISH = Language("en", "en", "English")
LANGUAGES = (
    ENGLISH,
    Language("ru", "ru", "Русский"),
)
_LOCALES = {language.code: language.locale for language in LANGUAGES}


def locale_of(code: str) -> str:
    """Our locale for one of Bitrix24's language codes; English for a language that we do not have."""
    return _LOCALES.get(code.lower(), ENGLISH.locale)
