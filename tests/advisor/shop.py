"""Visit the shop as its visitors do, store what that measured, and hear what the advisor makes of it."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test import Client, RequestFactory

from django_perf.advisor.report import advise
from django_perf.advisor.rules import NAMES, STORED
from django_perf.cache import observer as cache_observer
from django_perf.compression import tally as compression_tally
from django_perf.dashboard.pages import BY_NAME as PAGES
from django_perf.metrics.recorder import recorder
from django_perf.pool import observer as pool_observer
from django_perf.process.sampler import Sampler
from django_perf.reports.window import last
from django_perf.store.models import Delta
from django_perf.store.reader import consistent
from tests.store.data import put

SLOTS = 4


class Shop:
    """A process of the shop with four slots, and what it has measured since it was asked last."""

    def __init__(self, goods, plant, caches):
        self.goods = goods
        self.plant = plant
        self.sampler = Sampler(recorder.busy_seconds, SLOTS)
        self.sampler.publish(recorder)
        for levels in caches:
            cache_observer.publish(levels)
        for source in (cache_observer.read, compression_tally.read, pool_observer.read):
            recorder.source(source)
        recorder.enabled = True
        self.forget()

    def forget(self):
        """Begin anew."""
        recorder.fold()
        recorder.drain()
        Delta.objects.all().delete()

    def visit(self, *paths, times=1, **headers):
        """Ask for some pages, one after the other."""
        client = Client(SERVER_NAME="localhost", raise_request_exception=False, headers=headers)
        for path in paths * times:
            assert client.get(path).status_code in (200, 404, 500)

    def ordinary(self):
        """Ask for the pages that nothing is wrong with."""
        pages = "/products", "/products?page=2", f"/products/{self.goods[0].pk}", "/categories", "/catalogue"
        self.visit(*pages, times=6, accept_encoding="gzip, br, zstd")

    def crowd(self, visitors, path, times=1, before=lambda: None):
        """Let some visitors come at the same time, each of them so many times; they are served as by a real server."""
        ready = threading.Barrier(visitors, action=before)
        threads = [threading.Thread(target=self._served, args=(ready, path, times)) for _ in range(visitors)]
        for thread in threads:
            thread.start()
        return threads

    def _served(self, ready, path, times):
        serve, environ = get_wsgi_application(), RequestFactory(SERVER_NAME="localhost").get(path).environ
        try:
            for _ in range(times):
                ready.wait(30)
                # Closed as a server does, which gives the connections back.
                with closing(serve(dict(environ), lambda *args: None)) as body:
                    b"".join(body)
        finally:
            connections.close_all()

    def store(self, minutes_ago=0):
        """Store what was measured as if it had been some minutes ago."""
        recorder.fold()
        levels, tables = recorder.levels("web"), recorder.drain()
        now = time.time() - minutes_ago * 60
        for table in tables.values():
            put("default", {int(now) // 60: table}, taken=now, levels=levels)

    def advice(self, *rules):
        """Return what some rules say, or all that need no database, and forget what was measured."""
        self.store()
        recorder.enabled = False
        found = consistent("default", lambda snapshot: advise(snapshot, last("1h"), rules or STORED))
        recorder.enabled = True
        self.forget()
        assert {one.rule for one in found} <= set(NAMES)
        assert {one.page for one in found} <= set(PAGES)
        return found
