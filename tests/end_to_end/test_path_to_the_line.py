"""From a slow page of the shop, under gunicorn and with faults planted, to the statement, the line and the remedy."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from django.conf import settings

from example_project.shop import faults
from tests.end_to_end.server import Site, temporary_database

INDEX = "CREATE INDEX product_images_in_order ON product_images (product_id, position, id)"


class Shop(Site):
    """The example shop."""

    PROJECT = "example_project"

    def rows(self, report, *options):
        """Return the rows of a report as another process reads them."""
        printed = self.manage("perfstats", report, "--since=1h", "--limit=1000", "--format=json", *options)
        return json.loads(printed)["reports"][report]["rows"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop in which every fault is planted, after some visits; it has ended, so all it measured is stored."""
    with temporary_database(settings.POSTGRES.url) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_FAULTS", "all")
        patch.setenv("REDIS_URL", settings.CACHES["default"]["LOCATION"])
        own = Shop(tmp_path_factory.mktemp("shop"), url)
        own.database = url
        own.manage("migrate", "--verbosity=0")
        own.manage("shop_seed", "--products", "1200")
        with own.running("--workers=2", "--threads=4"), ThreadPoolExecutor(8) as visitors:
            paths = ["/slow-sql?s=1.2", "/n-plus-one", "/unbounded", *["/products", "/categories"] * 40]
            assert {response.status for response in visitors.map(own.get, paths)} == {200}
        yield own


def line_of(view, statement):
    """Return the place of a line of a view, as it is reported."""
    code = view.__wrapped__.__code__
    return f"shop/faults.py:{code.co_firstlineno + statement} in {code.co_name}"


def test_a_slow_statement_is_logged_once_with_its_line_and_its_route(shop):
    (line,) = [line for line in shop.log() if "slow query:" in line and "pg_sleep" in line]
    assert "SELECT pg_sleep(?)" in line
    assert f"at {line_of(faults.slow_sql, 8)}, GET slow-sql, " in line


def test_the_slowest_statement_stands_first_by_its_slowest_call(shop):
    first, *others = shop.rows("queries", "--sort=max_ms")
    assert first["sql"] == "SELECT pg_sleep(?)"
    assert 1_200 <= first["max_ms"] < 10_000
    assert len(others) > 5


def test_one_query_for_each_row_names_the_line_and_what_to_write_there(shop):
    found = {row["finding"]: row for row in shop.rows("findings")}
    assert found["n_plus_one"]["place"] == line_of(faults.n_plus_one, 5)
    assert found["n_plus_one"]["remedy"] == 'select_related("product") where Review is read'
    assert found["unbounded"]["place"] == line_of(faults.unbounded, 4)


def test_the_example_of_a_slow_request_shows_where_its_time_went(shop):
    # On a busy machine other statements may be slow once, too.
    (example,) = [row for row in shop.rows("samples") if (row["what"], row["name"]) == ("slow_query", "slow-sql")]
    assert (example["method"], example["status"]) == ("GET", 200)
    assert 1_200 <= example["db_ms"] <= example["duration_ms"]


def test_an_index_that_is_dropped_is_missed_until_it_is_there_again(shop):
    def missing():
        found = shop.rows("database")
        return [row for row in found if row["check"] == "missing index" and "product_images" in row["what"]]

    with closing(psycopg2.connect(shop.database)) as connection, connection, connection.cursor() as cursor:
        assert missing() == []
        cursor.execute("DROP INDEX product_images_in_order")
        cursor.execute("ANALYZE product_images")
        connection.commit()
        (row,) = missing()
        assert "CREATE INDEX CONCURRENTLY" in row["advice"]
        assert 'models.Index(fields=["product"]' in row["advice"]
        cursor.execute(INDEX)
        connection.commit()
        assert missing() == []
