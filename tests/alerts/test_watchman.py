"""Alerts from the store to the mailbox: on both databases, with minutes made by hand."""

from __future__ import annotations

import re
import threading
import time

import pytest
from django.core import mail

from django_perf.alerts import alert_changed, states, watchman
from django_perf.alerts.deciding import CLAIM_S
from django_perf.alerts.telling import MOST_MESSAGES
from django_perf.alerts.watchman import Watchman
from django_perf.store import housekeeping
from django_perf.store.housekeeping import Housekeeper
from django_perf.store.models import AlertState
from tests.store.data import MIDNIGHT, holder_of, put, requests

from .conftest import SLOW

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
in_transactions = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
EACH = {**SLOW, "endpoint": "*"}


def test_a_site_that_is_slow_for_five_minutes_is_told_once(site):
    site.passes(10, ms=100)
    assert site.subjects == []
    site.passes(3, ms=900)
    assert site.subjects == []
    site.passes(3, ms=900)
    assert site.subjects == ["FIRING: slow site (the whole site)"]
    (message,) = mail.outbox
    assert message.to == ["ada@example.com"]
    lines = message.body.splitlines()
    assert re.fullmatch(r"p95 of the whole site is (89|90|91). ms, [78].% over 500 ms \(100 requests\)", lines[0])
    assert lines[1:] == [
        "Rule: p95 over 500 ms for 5m",
        "Firing since 2024-10-04T00:14:21+00:00",
        "Page: /admin/django_perf/performance/",
    ]


@pytest.mark.parametrize("metric", ["mean_ms", "p99_ms", "max_ms"])
def test_one_bad_minute_is_no_alert_of_five(site, metric):
    site.rules({**SLOW, "metric": metric})
    for _ in range(3):
        site.passes(7, ms=100)
        site.passes(1, ms=90_000)
    assert site.subjects == []


def test_a_number_of_errors_is_one_of_the_whole_time(site):
    site.rules({**SLOW, "metric": "errors", "over": 3})
    site.passes(5, ms=100)
    site.passes(1, ms=100, errors=4)
    assert site.subjects == ["FIRING: slow site (the whole site)"]


def test_the_end_is_told_and_then_forgotten(site):
    site.passes(6, ms=900)
    site.passes(20, ms=100)
    assert site.subjects == ["FIRING: slow site (the whole site)", "Recovered: slow site (the whole site)"]
    assert "Fired from 2024-10-04T00:01:21+00:00 to 2024-10-04T00:" in mail.outbox[1].body
    assert not AlertState.objects.using(site.alias).exists()
    site.passes(6, ms=900)
    assert site.subjects[2:] == ["FIRING: slow site (the whole site)"]


def test_what_flaps_is_told_once(site):
    site.rules({**SLOW, "for": "1m"})
    for _ in range(10):
        site.passes(1, ms=900)
        site.passes(1, ms=100)
    assert site.subjects == ["FIRING: slow site (the whole site)"]


def test_what_goes_on_is_told_again_every_hour(site):
    site.passes(125, ms=900)
    assert site.subjects == ["FIRING: slow site (the whole site)"] * 3
    site.rules(SLOW, ALERT_EVERY=600)
    site.passes(20, ms=900)
    assert len(site.subjects) == 5


def test_few_requests_say_nothing(site):
    site.passes(10, ms=900, count=1)
    assert site.subjects == []
    site.rules({**SLOW, "min_requests": 5})
    site.passes(1, ms=900, count=1)
    assert site.subjects == ["FIRING: slow site (the whole site)"]


def test_a_site_without_traffic_has_a_rate(site):
    site.rules({"metric": "rate", "under": 0.1, "for": "3m"}, SLOW)
    site.passes(5, ms=100)
    assert site.subjects == []
    site.passes(1)
    assert site.subjects == []
    site.passes(2)
    assert site.subjects == ["FIRING: rate under 0.1/s for 3m (the whole site)"]


def test_each_endpoint_is_an_alert_of_its_own(site):
    site.rules(EACH)
    for _ in range(6):
        put(site.alias, {site.minute: requests(20, route="/slow", us=900_000)})
        put(site.alias, {site.minute: requests(20, route="/slower", us=1_900_000)})
        site.passes(1, ms=100, route="/fast")
    assert sorted(site.subjects) == ["FIRING: slow site (GET /slow)", "FIRING: slow site (GET /slower)"]
    assert "Page: /admin/django_perf/performance/endpoint/?route=%2Fslow&method=GET" in mail.outbox[0].body


def test_one_endpoint_can_be_named(site):
    site.rules({**SLOW, "endpoint": "POST /orders/<int:pk>"})
    site.passes(3, ms=900, route="/orders/<int:pk>")
    assert site.subjects == []
    site.passes(3, ms=900, route="/orders/<int:pk>", method="POST")
    assert site.subjects == ["FIRING: slow site (POST /orders/<int:pk>)"]


def test_many_alerts_at_once_are_bounded(site):
    site.rules(EACH)
    table = {}
    for number in range(50):
        table |= requests(20, route=f"/{number}", us=900_000)
    put(site.alias, {site.minute: table})
    site.passes(1)
    assert len(mail.outbox) == MOST_MESSAGES
    assert site.subjects[-1] == "31 more alerts: 31 firing, 0 recovered"
    assert mail.outbox[-1].body.count("FIRING: slow site: p95 of GET /") == 31
    site.passes(3)
    assert len(mail.outbox) == MOST_MESSAGES


@pytest.mark.parametrize("route", ["/a\nBcc: x@example.com", "/\x1b[31m\r\n", "/" + "x" * 300, "/\u202egnp", "/\ud800"])
def test_a_hostile_name_forges_no_header_and_no_line(site, route):
    site.rules({**EACH, "name": "a\nb"})
    put(site.alias, {site.minute: requests(20, route=route.encode("utf-8", "replace").decode(), us=900_000)})
    site.passes(1)
    (message,) = mail.outbox
    assert message.message()["Bcc"] is None
    assert len(message.subject) <= 220
    for line in [message.subject, *message.body.split("\n")]:
        assert line.isprintable()
    assert message.body.count("\n") == 3
    site.passes(1)
    assert len(mail.outbox) == 1


def test_the_signal_tells_of_each_change(site):
    heard = []

    def hear(sender, **kwargs):
        heard.append((sender.title, kwargs["alert"], kwargs["is_firing"], kwargs["endpoint"], kwargs["value"] is None))

    alert_changed.connect(hear)
    try:
        site.rules({**SLOW, "for": "1m"}, ALERT_EMAILS=False)
        site.passes(2, ms=900)
        site.passes(5, ms=100)
    finally:
        alert_changed.disconnect(hear)
    assert heard == [("slow site", "slow site", is_firing, "", False) for is_firing in (True, False)]
    assert mail.outbox == []


def test_a_receiver_that_fails_is_counted_and_keeps_nothing_from_anybody(site, losses):
    def fail(**kwargs):
        raise ZeroDivisionError

    alert_changed.connect(fail)
    try:
        site.passes(1, ms=900)
    finally:
        alert_changed.disconnect(fail)
    assert len(mail.outbox) == 1
    assert losses() == ["alert signal: ZeroDivisionError"]


def test_a_mail_that_fails_is_counted_and_tried_again(site, losses, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("django_perf.alerts.channels.mail_admins", lambda *arguments: 1 / 0)
        site.passes(3, ms=900)
    assert losses() == ["alert email: ZeroDivisionError"]
    site.passes(2, ms=900)
    assert site.subjects == ["FIRING: slow site (the whole site)"]


def test_a_mail_server_that_hangs_holds_nothing_up(site, losses, monkeypatch):
    free, asked = threading.Event(), []

    def hang(*arguments):
        asked.append(arguments)
        free.wait(20)

    monkeypatch.setattr("django_perf.alerts.channels.mail_admins", hang)
    impatient = Watchman(lambda: site.now, limit_s=0.2)
    began_s = time.monotonic()
    site.passes(1, ms=900, watchman=impatient)
    assert time.monotonic() - began_s < 10
    assert losses() == ["alert email: no answer"]
    site.passes(1, ms=900, watchman=impatient)  # it may still be under way: nobody else tries
    assert losses() == []
    site.passes(2, ms=900, watchman=impatient)
    assert losses() == ["alert email: the one before still hangs"]
    assert len(asked) == 1
    free.set()


def test_no_fault_of_ours_reaches_the_flusher(site, losses, monkeypatch):
    monkeypatch.setattr(watchman, "consistent", lambda *arguments: 1 / 0)
    site.passes(1, ms=900)
    assert losses() == ["alerts: ZeroDivisionError"]


def test_without_rules_nothing_is_read(site, django_assert_num_queries):
    site.rules()
    with django_assert_num_queries(0, using=site.alias):
        site.look()


# --- whoever has the lease --------------------------------------------------------------------------------------------


def test_another_process_goes_on_where_the_first_has_stopped(site):
    """Each look is that of a process that remembers nothing."""
    site.passes(4, ms=900)
    site.look()
    site.look()
    assert site.subjects == ["FIRING: slow site (the whole site)"]
    site.passes(12, ms=100)
    assert site.subjects[1:] == ["Recovered: slow site (the whole site)"]


def test_one_that_was_overtaken_after_reading_tells_nothing(site, monkeypatch):
    put(site.alias, {site.minute: requests(20, us=900_000)})
    site.minute += 1
    load = states.load

    def overtaken(alias):
        known = load(alias)
        with monkeypatch.context() as patch:
            patch.setattr(states, "load", load)
            site.look()
        return known

    for minutes in (0, 70):  # it begins, and a reminder is due
        site.minute += minutes
        put(site.alias, {site.minute - 1: requests(20, us=900_000)})
        mail.outbox.clear()
        with monkeypatch.context() as patch:
            patch.setattr(states, "load", overtaken)
            site.look()
        assert len(mail.outbox) == 1


def test_what_a_process_has_claimed_and_not_told_is_told_by_the_next(site, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("django_perf.alerts.telling.Teller.tell", kill)
        with pytest.raises(Killed):
            site.passes(1, ms=900)
    put(site.alias, {site.minute: requests(20, us=900_000)})
    site.look()
    assert site.subjects == []
    site.minute += int(CLAIM_S // 60)
    site.look()
    assert site.subjects == ["FIRING: slow site (the whole site)"]


def test_rules_of_other_settings_are_left_alone_for_a_day(site):
    site.passes(1, ms=900)
    site.rules({**SLOW, "over": 600})
    site.passes(1, ms=900)
    assert AlertState.objects.using(site.alias).count() == 2
    site.minute += 1_441
    site.look()
    assert AlertState.objects.using(site.alias).count() == 1


@in_transactions
def test_only_the_process_that_has_the_lease_looks(alias, settings, monkeypatch):
    looked = []
    monkeypatch.setattr(housekeeping.time, "time", lambda: MIDNIGHT * 60.0)
    other = holder_of(alias, "another")
    Housekeeper(then=looked.append)()
    assert looked == []
    other.release()
    Housekeeper(then=looked.append)()
    assert looked == [alias]


@in_transactions
def test_a_housekeeper_judges_what_it_has_merged(site, monkeypatch):
    """As in a worker: the flusher's chore, on a connection of its own."""
    for _ in range(5):
        put(site.alias, {site.minute: requests(20, us=900_000)})
        site.minute += 1
    now = site.now
    keep = Housekeeper(then=Watchman(lambda: now))
    monkeypatch.setattr(housekeeping.time, "time", lambda: now)
    keep()
    keep()
    assert site.subjects == ["FIRING: slow site (the whole site)"]
