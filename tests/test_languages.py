"""One table of languages, used by the settings, the screens and the menu entries."""

import pytest
from django.conf import settings

from b24app.languages import ENGLISH, LANGUAGES, locale_of


@pytest.mark.parametrize("code, locale", [("en", "en"), ("ru", "ru"), ("RU", "ru"), ("kz", "en"), ("", "en")])
def test_a_code_of_bitrix24_has_a_locale(code, locale):
    assert locale_of(code) == locale


def test_codes_and_locales_are_unique():
    assert len({language.code for language in LANGUAGES}) == len(LANGUAGES)
    assert len({language.locale for language in LANGUAGES}) == len(LANGUAGES)


def test_django_has_the_same_languages():
    assert [(language.locale, language.name) for language in LANGUAGES] == settings.LANGUAGES


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != ENGLISH])
def test_a_language_has_its_catalogue(language):
    folder = settings.BASE_DIR / "locale" / language.locale / "LC_MESSAGES"
    assert (folder / "django.mo").is_file()
