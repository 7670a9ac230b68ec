"""The catalogues: whole, up to date with the sources and with what Django reads, and in nobody else's way."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from django.utils.translation import override

from django_perf.reports.sentence import figure
from tests.catalogue import PACKAGE, in_sources, read_mo, read_po, sentences

LANGUAGES = sorted(path.name for path in (PACKAGE / "locale").iterdir())
PLACEHOLDER = re.compile(r"%\(\w+\)[rs]|%%|\{\w+\}")
CONTEXT = "django_perf"
# Names, units and words that a German developer says in English too.
SAME = {
    *("p50", "p95", "p99", "L1", "L2", "L3", "L1 p50", "L1 p95", "L2 p50", "L2 p95", "L3 p50", "L3 p95", "N+1"),
    *("SQL", "CPU", "Redis", "Host", "Index", "Code", "Block", "Route", "Rate", "Status", "Version", "Plan"),
    *("Cache", "Caches", "Pool", "Performance", "Rollbacks", "Scans", "Threads", "Timeouts", "live", "ok"),
    *("Cache-Control: no-transform", "no_compress", "Cache %(cache)s: %(evidence)s"),
}

# What people read on the pages is made here.
MODULES = [
    *(PACKAGE / "advisor" / "rules").glob("*.py"),
    *(PACKAGE / "dashboard").rglob("*.py"),
    *(PACKAGE / "reports" / name for name in ("cache_advice.py", "compression.py", "pool.py", "plans.py")),
]
# For programs and for Django's own tables: the answer to a request that no page sends, and names of permissions.
ENGLISH = (
    "an action that exists, and is_sure=1, are needed",
    "Can have the database explain how it runs a query",
    "Can clear caches and measurements, and retire connections",
)


def test_there_is_a_german_catalogue():
    assert "de" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_exactly_what_the_sources_have(language):
    """Run `python -m django makemessages -l de --no-location` in django_perf/ when it has not."""
    assert {message.key for message in read_po(language)} == in_sources()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_django_reads_is_what_translators_wrote(language):
    """Run `python -m django compilemessages` in django_perf/ when it is not: installing compiles nothing."""
    assert read_mo(language) == {message.key: message.translations for message in read_po(language)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_and_none_is_a_guess(language):
    unsure = [message.key for message in read_po(language) if message.is_fuzzy or not all(message.translations)]
    assert unsure == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_agree(language):
    for message in read_po(language):
        expected = Counter(PLACEHOLDER.findall(message.originals[0]))
        assert all(Counter(PLACEHOLDER.findall(text)) == expected for text in message.translations), message.key


def test_german_differs_from_english_but_for_a_few_words():
    same = {message.originals[0] for message in read_po("de") if message.originals == message.translations}
    assert {text for text in same if text.lower() != "performance"} == SAME - {"Performance"}


def test_german_addresses_nobody():
    texts = [text for message in read_po("de") for text in message.translations]
    assert [text for text in texts if re.search(r"\b(Sie|Ihnen|Ihr\w*|[Dd]ich|[Dd]u)\b", text)] == []


def test_short_messages_are_ours_alone():
    """Django merges the catalogues of all apps: a word without a context would change what the site itself says."""
    shared = [message.originals[0] for message in read_po("de") if message.context != CONTEXT]
    assert [text for text in shared if len(PLACEHOLDER.sub(" ", text).split()) < 5] == ["Home"]
    assert {message.context for message in read_po("de")} == {None, CONTEXT}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_sentence_of_the_pages_is_translated(path):
    known = {message.originals[0] for message in read_po("de")}
    assert [text for text in sentences(path) if text not in known and text not in ENGLISH] == []


@pytest.mark.parametrize(
    ("language", "text"), [(None, "1,234.5"), ("en-gb", "1,234.5"), ("de", "1\u202f234.5"), ("fr", "1\u202f234.5")]
)
def test_a_figure_in_a_sentence_is_grouped_as_english_is_or_as_the_tables_are(language, text):
    with override(language):
        assert figure(1234.5, ",.1f") == text
        assert figure(12) == "12"
