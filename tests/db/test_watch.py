"""What is found in the statements of a request: which line, how often, and what to write instead."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.template import engines

from django_perf.db import watch
from django_perf.db.shapes import _by_alias
from django_perf.metrics.catalog import CALL_SITE
from django_perf.metrics.trace import FOLD_AT
from example_project.shop.models import Category, Product, ProductImage, Review

from .conftest import findings, series

pytestmark = pytest.mark.django_db
HERE = re.compile(r"db/test_watch\.py:\d+ in \w+")


@pytest.fixture(autouse=True)
def _nothing_is_known():
    for shapes in _by_alias.values():
        shapes.known.clear()
        shapes._named.clear()


@pytest.fixture
def shop():
    """25 products of 25 categories, with an image and a review each."""
    categories = Category.objects.bulk_create(Category(name=f"c{n}", slug=f"c{n}") for n in range(25))
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=c) for n, c in enumerate(categories))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    Review.objects.bulk_create(Review(product=product, author="a", rating=5) for product in products)


def names_of_products():
    return [review.product.name for review in Review.objects.all()]


SLEEP = "SELECT pg_sleep(%s)"


def only(found, name):
    ((sql, place, remedy, calls, rows),) = found[name]
    return sql, place, remedy, calls, rows


def test_a_foreign_key_followed_in_a_loop_names_the_line_and_select_related(shop, trace):
    names_of_products()
    sql, place, remedy, calls, rows = only(findings(trace), "n_plus_one")
    assert '"products"."id" = ?' in sql
    assert (calls, rows) == (25, 25)
    line = names_of_products.__code__.co_firstlineno + 1
    assert place == f"db/test_watch.py:{line} in names_of_products"
    assert remedy == 'select_related("product") where Review is read'


CASES = {
    'prefetch_related("images") where Product is read': lambda: [list(p.images.all()) for p in Product.objects.all()],
    'annotate(Count("images")) where Product is read': lambda: [p.images.count() for p in Product.objects.all()],
    'annotate(Exists(...)) of "reviews", or prefetch_related("reviews"), where Product is read': lambda: [
        p.reviews.exists() for p in Product.objects.all()
    ],
    "Product.objects.in_bulk([...]) once, instead of get() for each": lambda: [
        Product.objects.get(pk=pk) for pk in Product.objects.values_list("pk", flat=True)
    ],
    "one query of Product with __in, instead of one for each": lambda: [
        Product.objects.filter(name=f"p{n}").first() for n in range(25)
    ],
    "one query of Review with __in, instead of one for each": lambda: [
        Review.objects.filter(product__name=f"p{n}").exists() for n in range(25)
    ],
    "one query of Review with values() and annotate() for all": lambda: [
        Review.objects.filter(product__name=f"p{n}").count() for n in range(25)
    ],
    'read "description" with the rest: take it out of defer(), or into only(), where Product is read': lambda: [
        product.description for product in Product.objects.defer("description")
    ],
    "Product.objects.bulk_update() once, instead of save() for each": lambda: [
        product.save() for product in Product.objects.all()
    ],
    "Review.objects.bulk_create() once, instead of save() for each": lambda: [
        Review(product_id=Product.objects.order_by("id").values_list("id", flat=True)[n], author="b", rating=1).save()
        for n in range(25)
    ],
    "one delete() of a queryset, instead of one for each": lambda: [review.delete() for review in Review.objects.all()],
    "one update() of Product for all, or bulk_update()": lambda: [
        Product.objects.filter(name=f"p{n}").update(price=2) for n in range(25)
    ],
}


@pytest.mark.parametrize("remedy", CASES)
def test_each_sort_of_loop_has_its_remedy(shop, trace, remedy):
    CASES[remedy]()
    assert remedy in {row[2] for row in findings(trace)["n_plus_one"]}


def test_many_to_many_is_prefetched_from_either_side(trace):
    groups = Group.objects.bulk_create(Group(name=f"g{n}") for n in range(25))
    kind = ContentType.objects.get_for_model(User)
    permission = Permission.objects.create(codename="x", name="x", content_type=kind)
    for group in groups:
        group.permissions.add(permission)
    trace.statements.clear()
    trace.watch = None
    for group in Group.objects.all():
        list(group.permissions.all())
    assert only(findings(trace), "n_plus_one")[2] == 'prefetch_related("permissions") where Group is read'


def test_the_other_end_of_a_many_to_many_too(trace):
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(25))
    group = Group.objects.create(name="g")
    group.user_set.set(users)
    trace.statements.clear()
    trace.watch = None
    for _ in range(25):
        list(group.user_set.order_by("id")[_ : _ + 1])
    assert only(findings(trace), "n_plus_one")[2] == 'prefetch_related("user_set") where Group is read'


def test_raw_sql_in_a_loop_has_a_line_and_what_always_holds(trace):
    with connection.cursor() as cursor:
        for number in range(20):
            cursor.execute(f"SELECT {number}")
    sql, place, remedy, calls, _ = only(findings(trace), "n_plus_one")
    assert (sql, calls, remedy) == ("SELECT ?", 20, "one statement for all, instead of one for each")
    assert HERE.fullmatch(place)


def test_the_same_statement_from_several_lines_is_no_loop(trace):
    with connection.cursor() as cursor:
        for number in range(4):
            cursor.execute(SLEEP, [0.003 + number / 10_000])
        cursor.execute(SLEEP, [0.005])
        cursor.execute(SLEEP, [0.006])
        cursor.execute(SLEEP, [0.007])
    assert findings(trace) == {}


def test_a_few_slow_executions_from_one_line_are_a_loop(trace):
    with connection.cursor() as cursor:
        for number in range(5):
            cursor.execute(SLEEP, [0.003 + number / 10_000])
    assert only(findings(trace), "n_plus_one")[3] == 5


def test_quick_executions_from_many_lines_are_no_loop(trace):
    ways = [compile("\n" * number + "one.exists()", "/srv/shop/ways.py", "exec") for number in range(60)]
    for number, way in enumerate(ways):
        exec(way, {"one": User.objects.filter(pk=number)})
    assert "n_plus_one" not in findings(trace)


def test_two_loops_over_the_same_statement_are_two_findings(trace):
    for number in range(40):
        User.objects.filter(pk=number).exists()
    for number in range(60):
        User.objects.filter(pk=100 + number).exists()
    found = findings(trace)["n_plus_one"]
    # Only every seventh is looked at: where the one ends and the other begins is known to within six.
    first, second = sorted(row[3] for row in found)
    assert first + second == 100
    assert abs(first - 40) < 7
    assert len({row[1] for row in found}) == 2


def test_lines_that_send_the_same_in_turn_are_found_each(trace):
    for number in range(60):
        User.objects.filter(pk=number).exists()
        User.objects.filter(pk=-number - 1).exists()
    first, second = sorted(row[3] for row in findings(trace)["n_plus_one"])
    assert first + second == 120
    assert second - first < 40, "which of them it was is looked at only sometimes"


def test_the_very_same_question_is_a_duplicate_with_the_line_of_its_repetition(trace):
    User.objects.filter(pk=1).exists()
    User.objects.filter(pk=2).exists()
    User.objects.filter(pk=1).exists()
    _, place, _, calls, _ = only(findings(trace), "duplicate")
    assert calls == 1
    assert place.endswith("in test_the_very_same_question_is_a_duplicate_with_the_line_of_its_repetition")


def test_a_loop_that_asks_the_very_same_is_a_duplicate_and_no_n_plus_one(trace):
    for _ in range(30):
        User.objects.filter(pk=1).exists()
    found = findings(trace)
    assert list(found) == ["duplicate"]
    assert only(found, "duplicate")[3] == 29


def test_different_texts_of_one_shape_are_no_duplicates(trace):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("SELECT 2")
        cursor.execute("SELECT %s", [3])
        cursor.execute("SELECT %s", [4])
    assert findings(trace) == {}


def test_writes_and_savepoints_that_repeat_are_no_duplicates(trace):
    with connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute("SAVEPOINT a")
            cursor.execute("UPDATE auth_user SET first_name = 'x' WHERE id = 0")
            cursor.execute("RELEASE SAVEPOINT a")
    assert findings(trace) == {}


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.django_db(databases=["default", "sqlite"])
def test_a_thousand_and_one_rows_are_unbounded_and_a_limit_bounds_them(trace, alias):
    rows = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1500) SELECT x FROM t"
    with connections[alias].cursor() as cursor:
        cursor.execute(rows)
        cursor.fetchall()
        cursor.execute(f"{rows} LIMIT 1200")
        cursor.fetchall()
        cursor.execute(f"{rows} WHERE x <= 1000")
        cursor.fetchall()
    _, place, _, calls, rows = only(findings(trace), "unbounded")
    assert (calls, rows) == (1, 1_500)
    assert HERE.fullmatch(place)


def test_a_cursor_that_is_never_closed_is_judged_at_the_end(trace):
    cursor = connections["default"].cursor()
    cursor.execute("SELECT generate_series(1, 2000)")
    assert only(findings(trace), "unbounded")[4] == 2_000
    cursor.close()


def test_a_query_in_a_template_names_the_line_of_the_template(shop, trace):
    template = engines["django"].from_string("{% for r in reviews %}\n{{ r.product.name }}\n{% endfor %}")
    template.render({"reviews": Review.objects.all()})
    found = findings(trace)
    assert {(row[1], row[3]) for row in found["template"]} == {("(template):1", 1), ("(template):2", 25)}
    _, place, remedy, calls, _ = only(found, "n_plus_one")
    assert (place, calls) == ("(template):2", 25)
    assert remedy == 'select_related("product") where Review is read'


def test_the_template_has_its_name_and_is_on_the_timeline(shop, trace):
    page = {"page": 1, "pages": 1, "total": 0}
    template = engines["django"].get_template("shop/catalogue.html")
    template.render({"products": Product.objects.all(), "categories": Category.objects.all(), "page": page})
    assert {row[1].split(":")[0] for row in findings(trace)["template"]} == {"shop/catalogue.html"}
    assert [(span.kind, span.name) for span in trace.spans] == [("template", "shop/catalogue.html")]


def test_after_a_template_queries_belong_to_the_view_again(trace):
    engines["django"].from_string("x").render()
    User.objects.exists()
    assert findings(trace) == {}


def test_very_many_executions_are_found_whole(trace):
    with connection.cursor() as cursor:
        for number in range(FOLD_AT + 50):
            cursor.execute("SELECT %s", [number])
            cursor.fetchall()
    assert only(findings(trace), "n_plus_one")[3:] == (FOLD_AT + 50, FOLD_AT + 50)


def test_when_the_remedy_cannot_be_told_the_line_still_is(shop, trace, monkeypatch):
    monkeypatch.setattr(watch, "remedy_of", lambda frame: 1 / 0)
    names_of_products()
    _, place, remedy, calls, _ = only(findings(trace), "n_plus_one")
    assert (calls, remedy) == (25, "")
    assert HERE.match(place)


def call_sites(trace):
    """Return {(shape, place): executions}."""
    findings(trace)
    return {(sql, place): counters[0] for (_, sql, place), (_, counters) in series(trace, CALL_SITE).items()}


def sleep(seconds):
    with connection.cursor() as cursor:
        cursor.execute(SLEEP, [seconds])


@pytest.fixture
def dear_s(monkeypatch):
    """Raise what is dear to 0.2 s: on a machine under load any statement takes two milliseconds."""
    for module in ("metrics.trace", "db.cursor", "db.watch"):
        monkeypatch.setattr(f"django_perf.{module}.DEAR_NS", 200_000_000)
    return 0.2


def test_a_statement_that_takes_long_has_its_line_and_a_short_one_none(trace, dear_s):
    sleep(dear_s)
    User.objects.exists()
    line = sleep.__code__.co_firstlineno + 2
    assert call_sites(trace) == {("SELECT pg_sleep(?)", f"db/test_watch.py:{line} in sleep"): 1}


def test_a_statement_that_comes_often_has_its_line_and_all_its_executions(shop, trace, dear_s):
    names_of_products()
    ((_, place), count), *others = call_sites(trace).items()
    assert (count, others) == (25, [])
    assert place.endswith("in names_of_products")


def test_of_very_many_executions_each_is_counted_for_its_line(trace):
    with connection.cursor() as cursor:
        for number in range(FOLD_AT + 50):
            cursor.execute("SELECT %s", [number])
    (count,) = call_sites(trace).values()
    assert count == FOLD_AT + 50
