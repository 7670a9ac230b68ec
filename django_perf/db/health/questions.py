"""Hold the SQL that is asked; each answers in the order of the fields in facts.py. PostgreSQL 14 or newer."""

from __future__ import annotations

_DAYS = "(extract(epoch FROM now() - {}) / 86400)::float8"
# clock_timestamp(): what another session has begun since now() would be younger than nothing.
_SECONDS = "extract(epoch FROM clock_timestamp() - {})::float8"
_NAME = "CASE WHEN {0}.nspname = current_schema() THEN '' ELSE {0}.nspname || '.' END || {1}.relname"
# The planner's estimate, or that of the statistics for a table which was never analysed.
_ROWS = "(CASE WHEN {0}.reltuples > 0 THEN {0}.reltuples ELSE pg_stat_get_live_tuples({0}.oid) END)::float8"
_MOST = 500

SERVER = f"""
SELECT current_setting('server_version'), current_user::text,
       CASE WHEN d.blks_hit + d.blks_read > 0 THEN d.blks_hit::float8 / (d.blks_hit + d.blks_read) END,
       d.blks_read,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       d.deadlocks, d.temp_bytes, pg_database_size(current_database()),
       {_DAYS.format("d.stats_reset")},
       (SELECT age(datfrozenxid)::float8 / 2000000000 FROM pg_database WHERE datname = current_database()),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
FROM pg_stat_database d WHERE d.datname = current_database()
"""

TABLES = f"""
SELECT {_NAME.format("n", "c")}, {_ROWS.format("c")}, pg_total_relation_size(c.oid),
       s.seq_scan, s.seq_tup_read::float8 / greatest(s.seq_scan, 1), coalesce(s.idx_scan, 0), s.n_dead_tup,
       {_DAYS.format("greatest(s.last_vacuum, s.last_autovacuum)")},
       {_DAYS.format("greatest(s.last_analyze, s.last_autoanalyze)")}
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY pg_total_relation_size(c.oid) DESC LIMIT {_MOST}
"""

# A twin does all that the index does: it begins with the same columns in the same way, includes the others, and is no
# less unique. What a constraint is made of has none: it cannot be dropped by itself.
INDEXES = f"""
WITH own AS (
    SELECT i.*, c.relname, c.relam, s.idx_scan, t.relname AS table_name, t.relnamespace, t.oid AS table_oid,
           (SELECT array_agg(coalesce(a.attname, '') ORDER BY k.place)
            FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) AS columns,
           array_to_string(i.indkey[0:i.indnkeyatts - 1], ' ') || ' ' AS keys,
           array_to_string(i.indclass::oid[], ' ') || ' ' AS classes,
           array_to_string(i.indoption::int[], ' ') || ' ' AS options,
           array_to_string(i.indcollation::oid[], ' ') || ' ' AS collations,
           i.indkey::int2[] AS all_keys,  -- those of INCLUDE too
           EXISTS (SELECT 1 FROM pg_constraint f WHERE f.conindid = i.indexrelid) AS is_constraint
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
    WHERE t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
                                 'pg_toast'::regnamespace)
)
SELECT {_NAME.format("n", "t")}, {_NAME.format("n", "o")}, o.columns, pg_relation_size(o.indexrelid),
       coalesce(o.idx_scan, 0), o.indisunique, o.indisvalid OR EXISTS (SELECT 1 FROM pg_stat_progress_create_index p
                                              WHERE p.index_relid = o.indexrelid),
       {_ROWS.format("t")},
       (SELECT {_NAME.format("n", "twin")} FROM own twin
        WHERE NOT o.is_constraint
          AND twin.indrelid = o.indrelid AND twin.indexrelid <> o.indexrelid AND twin.relam = o.relam
          AND twin.indisvalid AND o.indpred IS NULL AND twin.indpred IS NULL
          AND o.indexprs IS NULL AND twin.indexprs IS NULL
          AND starts_with(twin.keys, o.keys) AND starts_with(twin.classes, o.classes)
          AND starts_with(twin.options, o.options) AND starts_with(twin.collations, o.collations)
          AND o.all_keys <@ twin.all_keys
          AND (NOT o.indisunique OR (twin.indisunique AND twin.keys = o.keys))
          AND (twin.keys <> o.keys OR twin.indisunique > o.indisunique
               OR twin.is_constraint OR NOT twin.all_keys <@ o.all_keys
               OR (twin.indisunique = o.indisunique AND twin.indexrelid < o.indexrelid))
        ORDER BY length(twin.keys) LIMIT 1),
       quote_ident(n.nspname) || '.' || quote_ident(o.relname), o.is_constraint
FROM own o JOIN pg_class t ON t.oid = o.table_oid JOIN pg_namespace n ON n.oid = o.relnamespace
ORDER BY pg_relation_size(o.indexrelid) DESC LIMIT {_MOST}
"""

FOREIGN_KEYS = f"""
SELECT {_NAME.format("n", "c")},
       (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
       (SELECT relname FROM pg_class WHERE oid = f.confrelid), {_ROWS.format("c")}
FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND NOT EXISTS (
    SELECT 1 FROM pg_index i
    WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
      AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
      AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] <@ f.conkey)
ORDER BY c.reltuples DESC LIMIT {_MOST}
"""

SESSIONS = f"""
SELECT a.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''), coalesce(a.state, ''),
       {_SECONDS.format("a.xact_start")}, {_SECONDS.format("a.state_change")},
       coalesce(a.wait_event_type || ': ' || a.wait_event, ''), pg_blocking_pids(a.pid), coalesce(a.query, '')
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND coalesce(a.state, '') <> 'idle'
ORDER BY a.xact_start NULLS LAST LIMIT {_MOST}
"""

SEQUENCES = f"""
SELECT {_NAME.format("n", "c")}, s.last_value,
       (s.last_value::numeric / least(s.max_value, CASE a.atttypid WHEN 'int2'::regtype THEN 32767
        WHEN 'int4'::regtype THEN 2147483647 ELSE s.max_value END))::float8 AS used
FROM pg_sequences s
JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.sequencename
LEFT JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE s.last_value IS NOT NULL AND s.increment_by > 0
ORDER BY used DESC LIMIT {_MOST}
"""

HAS_STATEMENTS = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements')"

STATEMENTS = f"""
SELECT s.query, s.calls, s.total_exec_time, s.mean_exec_time, s.rows,
       CASE WHEN s.shared_blks_hit + s.shared_blks_read > 0
            THEN s.shared_blks_hit::float8 / (s.shared_blks_hit + s.shared_blks_read) END
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database()
ORDER BY s.total_exec_time DESC LIMIT {_MOST}
"""
