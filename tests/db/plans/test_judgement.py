"""What is said of a plan, from documents as PostgreSQL and SQLite write them."""

from __future__ import annotations

from django_perf.db.plans.judgement import judge
from django_perf.db.plans.plan import Node, Plan, Table, from_postgresql, from_sqlite

IMAGES = Table("product_images", 500_000.0, (("id",),), "shop.ProductImage", {"product_id": "product"})


def step(kind, *children, cost=100.0, rows=10, **more):
    names = {name.replace("_", " ").title(): value for name, value in more.items()}
    return {"Node Type": kind, "Total Cost": cost, "Plan Rows": rows, "Plan Width": 100, **names, "Plans": children}


def scan(rows=2, **more):
    return step("Seq Scan", cost=9_000.0, rows=rows, relation_name="product_images", schema="public", **more)


def remarks(document, tables=(IMAGES,), **facts):
    root = from_postgresql({"Plan": document})
    return judge(Plan(root, {table.name: table for table in tables}, "postgresql", **facts))


def texts(*args, **facts):
    return [remark.text for remark in remarks(*args, **facts)]


def test_a_scan_that_keeps_few_of_many_rows_is_told_with_its_index():
    (remark,) = remarks(scan(filter="(product_id = $1)"))
    assert remark.text == (
        "Sequential scan: reads all 500,000 rows of product_images to keep 2 (filter: (product_id = $1))"
    )
    assert remark.index.columns == ("product_id",)


def test_a_scan_that_keeps_most_rows_is_right():
    assert texts(scan(rows=400_000, filter="(price > $1)")) == []


def test_a_small_table_is_read_whole_and_rightly():
    small = Table("product_images", 999.0)
    assert texts(scan(filter="(product_id = $1)"), (small,)) == []


def test_a_scan_without_a_filter_that_is_wanted_whole_is_right():
    assert texts(step("Aggregate", scan(rows=500_000))) == []


def test_the_first_rows_of_a_sorted_table_want_an_index_on_the_order():
    sort = step("Sort", step("Gather", scan(rows=500_000)), sort_key=["product_images.created_at DESC"], rows=9)
    (remark,) = remarks(step("Limit", sort, rows=20))
    assert remark.text.startswith("Sequential scan: reads and sorts all 500,000 rows of product_images to return the")
    assert remark.index.columns == ("-created_at",)


def test_a_sort_that_will_not_fit_is_told_before_it_happens():
    document = step("Sort", rows=100_000, sort_key=["a"])
    (text,) = texts(document, work_mem_kb=4_096)
    assert text.startswith("Sort on disk: some 9,766 kB will not fit into work_mem (4,096 kB)")
    assert texts(document, work_mem_kb=20_000) == []


def test_a_sort_that_went_to_disk_is_told_with_what_it_took():
    document = step("Sort", sort_key=["a"], sort_space_type="Disk", sort_space_used=8_000)
    assert texts(document, work_mem_kb=4_096, is_executed=True) == [
        "Sort on disk: 8,000 kB did not fit into work_mem (4,096 kB)"
    ]


def test_an_estimate_that_is_ten_times_wrong_is_told():
    document = scan(rows=10, actual_rows=400.0, actual_loops=10)
    (text,) = texts(document)
    assert text.startswith("Wrong estimate: 10 rows were expected of Seq Scan on product_images, 4,000 came")


def test_an_estimate_that_is_wrong_about_little_is_not():
    assert texts(scan(rows=1, actual_rows=900.0)) == []
    assert texts(scan(rows=1_000, actual_rows=9_000.0)) == []


def test_a_loop_over_many_rows_is_told_with_what_it_repeats():
    inner = step("Index Scan", cost=8.0, rows=1, relation_name="products", index_name="products_pkey")
    (text,) = texts(step("Nested Loop", step("Hash Join", cost=500, rows=20_000), inner, cost=90_000))
    assert text == (
        "Nested loop: Index Scan on products using products_pkey runs 20,000 times, once for each row of the outer side"
    )


def test_a_loop_over_few_rows_is_right():
    inner = step("Index Scan", cost=8.0, rows=1)
    assert texts(step("Nested Loop", step("Hash Join", rows=20), inner, cost=700)) == []


def test_the_steps_that_cost_are_marked_and_a_limit_does_not_hide_them():
    root = from_postgresql({"Plan": step("Limit", step("Sort", scan(), cost=9_100.0), cost=5.0)})
    marks = {node.kind: node.is_expensive for node in root.walk()}
    assert marks == {"Limit": False, "Sort": False, "Seq Scan": True}
    assert "cost 9,000, 99% of it here" in next(node for node in root.walk() if node.table).details()


def test_tables_of_other_schemas_are_named_with_theirs():
    root = from_postgresql({"Plan": step("Seq Scan", relation_name="t", schema="other")})
    assert root.describe() == "Seq Scan on other.t"


def test_the_plan_of_sqlite_is_a_tree_and_its_scans_are_told():
    root = from_sqlite(
        [
            (3, 0, "SCAN product_images"),
            (8, 0, "SEARCH p USING INDEX products_newest (id=?)"),
            (9, 8, "USE TEMP B-TREE FOR ORDER BY"),
        ]
    )
    assert [node.describe() for node in root.walk()] == [
        "Query",
        "Scan on product_images",
        "Search on p using products_newest",
        "USE TEMP B-TREE FOR ORDER BY",
    ]
    (remark,) = judge(Plan(root, {"product_images": IMAGES}, "sqlite"))
    assert remark.text == "Scan: reads all of some 500,000 rows of product_images; no index is used"


def test_one_step_of_sqlite_stands_alone():
    assert from_sqlite([(3, 0, "SCAN t USING COVERING INDEX t_a")]) == Node("Scan", table="t", index="t_a")
