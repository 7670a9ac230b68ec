"""Name the one statement that a page is asked to explain: it lacks an index, and joins all rows with all others."""

from __future__ import annotations

from django_perf.db.fingerprint import shape_id

PLANNED = (
    'SELECT COUNT(*) FROM "auth_permission" a CROSS JOIN "auth_permission" b CROSS JOIN "auth_permission" c '
    'WHERE a."name" = ?'
)
PLANNED_ID = shape_id("default", PLANNED)
