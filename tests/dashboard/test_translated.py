"""The pages in German: no English word of ours is left; what was recorded, files and the terminal stay as they are."""

from __future__ import annotations

import io
import re
import time

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.utils.translation import override

from django_perf.advisor.advice import SEVERITIES
from django_perf.advisor.report import REPORTS
from django_perf.dashboard.actions import ACTIONS
from django_perf.dashboard.page import Asked
from django_perf.dashboard.pages import VIEWS
from django_perf.dashboard.words import OURS, WORDS
from django_perf.db.health import checks
from django_perf.pool.sizing import REMEDIES
from django_perf.reports.compression import _MEANINGS as OUTCOMES
from django_perf.reports.findings import MEANINGS
from django_perf.reports.own import COSTS, stored
from django_perf.reports.pool import _BREAKERS, Fleet, ProcessPool
from django_perf.reports.process import Worker
from django_perf.reports.queries import endpoints_report
from django_perf.reports.window import COMPARISONS, last
from django_perf.store.models import Rollup
from django_perf.store.reader import consistent
from django_perf.store.tiers import TIERS
from django_perf.templatetags.django_perf import comparison
from tests.catalogue import read_po
from tests.dashboard.conftest import ADDRESSES, CACHE_PAGE, OVERVIEW
from tests.dashboard.markup import Markup

PAGES = pytest.mark.parametrize("name", [*ADDRESSES, "explain"])
GERMAN = {message.originals[0]: message.translations[0] for message in read_po("de")}
# What is left is a mistake, unless a German text is spelled like another English one.
ENGLISH = {english for english, german in GERMAN.items() if english != german} - set(GERMAN.values())
SENTENCES = [text for text in ENGLISH if len(text.split()) > 2 and not re.search(r"[%{'\"]", text)]
ATTRIBUTES = ("aria-label", "placeholder", "title", "data-live-text", "data-stale-text")


@pytest.fixture
def full(fill, store):
    """A Fill whose store has something for every page."""
    store(("cache", "default", "l2"), 310_000, keys=1)
    store(("cache_key", "default", "product:*"), 0, l2=1)
    store(("pool", "default"), 1_000)
    store(("pool_hold", "default"), 1_000)
    store(("compression", "list", "GET", "zstd"), 1_000, bytes_in=5_000, bytes_out=900)
    store(("process", "flush_ms", "one"), 2_000)
    store(("loss", "error", "query: ValueError"), 2)
    fill()
    return fill


@pytest.fixture
def manager(client_of):
    """A client of someone who may do everything."""
    return client_of("view_performance", "manage_performance", "explain_queries", is_staff=True)


@pytest.fixture
def _a_moment(monkeypatch):
    """What is compared has to be asked for in the same second."""
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)


@pytest.fixture
def _every_tier(db):
    """Rows of a kind that there is not, on each tier: the store says how much it holds of each."""
    for tier in range(len(TIERS)):
        Rollup.objects.create(tier=tier, kind=32_000, bucket=1, shard=0, data=b"")


def texts_of(page, left_out):
    """Return what is to be read on a page: texts, less those of some elements, and attributes."""
    texts = {one.own.strip() for one in page.elements if one.tag not in left_out}
    return texts | {one.attributes.get(name) for one in page.elements for name in ATTRIBUTES}


@PAGES
def test_no_english_word_of_ours_is_on_a_german_page(full, manager, name):
    with override("de"):
        send = manager.post if name == "explain" else manager.get
        response = send(ADDRESSES.get(name, f"{OVERVIEW}explain/"), {"since": "1h", **full.about.get(name, {})})
    page = Markup(response.content.decode())
    assert response.status_code == 200
    # The names of tables, columns and checks of a database may be words of ours.
    left_out = {"script", "code", *(["td"] if name == "database" else [])}
    assert texts_of(page, left_out) & ENGLISH == set()
    assert [text for text in SENTENCES if text in page.source] == []


def _read(name, about):
    asked = Asked(last("1h"), **{key: str(value) for key, value in about.get(name, {}).items()})
    view = next(view for view in VIEWS if view.name == name)
    return consistent("default", lambda snapshot: view.read(snapshot, asked))


def _words_of_page(page):
    yield from (card.label for card in page.cards)
    yield from (card.change for card in page.cards if not re.search(r"\d", card.change))
    for chart in page.charts:
        yield chart.title
        yield from (line.label for line in chart.lines)


def _words_of_reports():
    for report in (*REPORTS.values(), endpoints_report("", "")):
        yield from (report.title, report.empty, *(column.label for column in report.columns))


def _constants():
    for view in VIEWS:
        yield from (view.nav, view.title)
    for action in ACTIONS.values():
        yield from (action.label, action.asks)
    yield from (*map(comparison, COMPARISONS), *SEVERITIES, *MEANINGS.values(), *OUTCOMES.values(), *_BREAKERS)
    yield from (*checks.STATES, *(text for text, _ in COSTS.values()), *REMEDIES)
    # States of levels and processes, yes and no, kinds of losses and of spans, the last band of the durations.
    yield from ("up", "failing", "away", "running", "stopped", "lost", "yes", "no", "dropped", "error")
    yield from ("database", "cache", "template", "block", "more")


@pytest.mark.usefixtures("_every_tier")
def test_the_list_of_words_is_that_of_reports_pages_and_rules(full):
    pages = [_read(view.name, full.about) for view in VIEWS]
    stores = consistent("default", lambda snapshot: [row.what for row in stored(snapshot)])
    found = {word for page in pages for word in _words_of_page(page)} | {*_words_of_reports(), *_constants(), *stores}
    # Only one of two stands on a card at a time.
    found |= {"now", "nothing", "as before"}
    with override(None):
        assert {str(word) for word in WORDS} == found - {"", "{method} {route}", "PostgreSQL"}


def test_the_words_of_columns_are_of_columns_that_there_are():
    assert {(report.name, column.name) for report in REPORTS.values() for column in report.columns} >= OURS


def test_a_name_that_is_a_word_of_ours_is_not_translated(store, reader):
    store(("request", "Open", "GET", "2xx"), 1_000)
    with override("de"):
        page = Markup(reader.get(OVERVIEW, {"since": "1h"}).content.decode())
    assert page.tables["requests"][0][0] == "Endpunkt"
    assert page.tables["requests"][1][0] == "Open"


def test_cards_say_what_has_changed_in_german(store, reader, minute):
    store(("site",), *[1_000] * 20)
    store(("site",), *[1_000] * 10, at=minute - 70)
    with override("de"):
        page = Markup(reader.get(OVERVIEW, {"since": "1h"}).content.decode())
    assert page.named("dt")[:2] == ["Anfragen", "Fehlerrate"]
    more, other = page.text_of("perf-change")[:2]
    assert more.endswith("% mehr als zuvor")
    assert other == "kein Vergleich"


@pytest.mark.usefixtures("full")
def test_a_file_of_a_german_page_is_english(manager):
    address, parameters = ADDRESSES["queries"], {"since": "1h", "csv": "findings"}
    with override("de"):
        german = manager.get(address, parameters).content.decode()
    assert german == manager.get(address, parameters).content.decode()
    assert "N+1: one query for each row of another" in german


def test_who_acts_reads_german_and_the_log_is_english(manager):
    fields = {"action": "clear_cache", "target": "default", "is_sure": "1"}
    with override("de"):
        response = manager.post(f"{OVERVIEW}act/", fields, follow=True)
    assert [str(message) for message in response.context["messages"]] == ["Cache default: geleert"]
    assert LogEntry.objects.get().object_repr == "cache default: cleared"


@pytest.mark.usefixtures("_a_moment", "full")
@pytest.mark.parametrize("command", [["perfstats"], ["perfstats", "advice"], ["perfstats", "--format", "json"]])
def test_the_terminal_is_english_whatever_the_language(settings, command):
    english, german = io.StringIO(), io.StringIO()
    call_command(*command, stdout=english)
    settings.LANGUAGE_CODE = "de"
    with override("de"):
        call_command(*command, stdout=german)
    assert german.getvalue() == english.getvalue() != ""


def test_advice_is_german_with_its_figures(full):
    with override("de"):
        loop, transaction = [note.text for note in _read("advice", full.about).notes]
    assert loop.startswith("GET list sendet eine Abfrage 50 Mal je Anfrage, davon 40 ms (40% seiner Zeit), in list: ")
    assert transaction.startswith("GET list hält je Anfrage 30 ms lang eine Transaktion offen, in der die Datenbank")


def test_what_is_wrong_with_a_cache_is_german(store, reader):
    store(("cache", "default", "miss"), 1_000, keys=2_000)
    store(("cache_key", "default", "basket:*"), miss=1_900, l1=100, set=500)
    with override("de"):
        page = Markup(reader.get(CACHE_PAGE, {"since": "1h"}).content.decode())
    whole, keys = page.text_of("perf-evidence")
    assert whole.startswith("default: Nur 0 von 2\u202f000 Lesezugriffen treffen (0%): ansehen, welche Muster")
    assert keys.startswith(
        "default, basket:*: Nur 100 von 2\u202f000 Lesezugriffen treffen, und es wird mehr gespeichert"
    )


def test_the_size_of_a_pool_is_judged_in_german():
    row = Fleet("default", 60.0)
    row.pools.append(ProcessPool(Worker("one", 1, 0.0, 60.0, 45.0), "default", {"max_size": 20.0, "server_max": 10.0}))
    with override("de"):
        assert row.advice() == "Alle zusammen dürfen 20 Verbindungen öffnen, der Server erlaubt 10: max_size 10"
    assert row.advice() == "The fleet may open 20 connections, the server takes 10: max_size 10"
