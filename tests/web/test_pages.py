"""Rules for all templates, scripts and texts: no inline code, small files, every text in every language."""

import gzip
import re
from io import BytesIO
from pathlib import Path

import django_htmx
import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

from b24app.languages import ENGLISH, LANGUAGES

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static").glob("*.js"))
FORBIDDEN = re.compile(
    r"\bstyle=|<style|\bon[a-z]+=|hx-on|\bjs:|hx-push-url|hx-boost|localStorage|sessionStorage|document\.cookie"
    r"|\balert\(|\bconfirm\(|\beval\(|innerHTML ?=|https?://(?!www\.w3\.org)|csrf_token"
)
# Our texts: calls of gettext in Python, and the translation tags of the templates.
CALL = re.compile(r'(?:p?gettext(?:_lazy)?|_)\(\s*(?:"date format", )?((?:"(?:[^"\\]|\\.)*"\s*)+)')


def compressed(*paths):
    return sum(len(gzip.compress(path.read_bytes())) for path in paths)


@pytest.mark.parametrize("path", [*TEMPLATES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_obey_the_content_policy(path):
    assert FORBIDDEN.findall(path.read_text()) == []


def test_template_lines_are_short():
    long = [f"{path.name}: {line}" for path in TEMPLATES for line in path.read_text().splitlines() if len(line) > 160]
    assert long == []


def test_no_template_has_an_inline_script():
    inline = [path.name for path in TEMPLATES if re.search(r"<script(?![^>]*\bsrc=)", path.read_text())]
    assert inline == []


def test_scripts_and_styles_stay_small():
    htmx = Path(django_htmx.__file__).parent / "static" / "django_htmx" / "htmx-2.min.js"
    assert compressed(htmx, *SCRIPTS) <= 26 * 1024
    assert compressed(ROOT / "static" / "app.css") <= 8 * 1024
    assert compressed(ROOT / "static" / "icons.svg") <= 4 * 1024


def test_styles_use_logical_directions():
    physical = r"\b(margin|padding|border|inset)-(left|right)\b|text-align: (left|right)|[{;]\s*(left|right):"
    assert re.findall(physical, (ROOT / "static" / "app.css").read_text()) == []


def test_every_used_icon_exists():
    sprite = (ROOT / "static" / "icons.svg").read_text()
    used = {name for path in TEMPLATES for name in re.findall(r'{% icon "([a-z]+)"', path.read_text())}
    assert used
    assert used <= set(re.findall(r'<symbol id="([a-z]+)"', sprite))


# -- Russian


def po_file(locale):
    return ROOT / "locale" / locale / "LC_MESSAGES" / "django.po"


@pytest.fixture(scope="module", params=[language.locale for language in LANGUAGES if language is not ENGLISH])
def catalogue(request):
    """The catalogue of each language but English, whose texts are in the code."""
    return read_po(BytesIO(po_file(request.param).read_bytes()), locale=request.param)


def our_words():
    """Every text that our pages may show, as the catalogue names it (the singular of a plural)."""
    sources = [path.read_text() for path in (ROOT / "b24app").glob("web/*.py")]
    sources.append((ROOT / "b24app" / "portals" / "installation.py").read_text())
    sources += [templatize(path.read_text()) for path in TEMPLATES]
    return {text for source in sources for text in texts_in(source)}


def texts_in(source):
    for call in CALL.findall(source):
        yield "".join(eval(piece) for piece in re.findall(r'"(?:[^"\\]|\\.)*"', call))
    # Django turns templates into gettext(u'…') and ngettext(u'…', u'…', count).
    for _, text in re.findall(r"(gettext|ngettext)\(u('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", source):
        yield eval(text)
    for text in re.findall(r" _\(((?:'(?:[^'\\]|\\.)*')|(?:\"(?:[^\"\\]|\\.)*\"))\) ", source):
        yield eval(text)


def known(catalogue):
    return {message.id[0] if isinstance(message.id, tuple) else message.id for message in catalogue if message.id}


def test_the_catalogue_has_every_text(catalogue):
    words = our_words()
    assert len(words) > 100
    assert words - known(catalogue) == set()


def test_the_catalogue_has_no_unused_text(catalogue):
    assert known(catalogue) - our_words() == set()


def test_every_text_is_translated(catalogue):
    for message in catalogue:
        translations = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id:
            assert all(translations), message.id
            assert "fuzzy" not in message.flags, message.id
            forms = catalogue.num_plurals if isinstance(message.id, tuple) else 1
            assert len(translations) == forms, message.id


def test_translations_keep_the_placeholders(catalogue):
    blank = re.compile(r"%\(\w+\)s|\{\w+\}")
    for message in catalogue:
        if isinstance(message.id, tuple):
            assert {tuple(sorted(blank.findall(text))) for text in message.string} == {
                tuple(sorted(blank.findall(message.id[1])))
            }
        elif message.id:
            assert sorted(blank.findall(message.string)) == sorted(blank.findall(message.id))


def test_the_compiled_catalogue_is_current(catalogue):
    compiled = read_mo(BytesIO(po_file(catalogue.locale_identifier).with_suffix(".mo").read_bytes()))
    assert translations(compiled) == translations(catalogue)


def translations(catalogue):
    return {(context(each), *listed(each.id)): listed(each.string) for each in catalogue if each.id}


def context(message):
    return message.context.decode() if isinstance(message.context, bytes) else message.context


def listed(texts):
    return (texts,) if isinstance(texts, str) else tuple(texts)
