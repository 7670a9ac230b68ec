"""Take away what the shop's database should have."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def without_index(connection):
    """Drop an index of a foreign key for a while."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX product_images_in_order")
        cursor.execute("ANALYZE product_images")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("CREATE INDEX product_images_in_order ON product_images (product_id, position, id)")
