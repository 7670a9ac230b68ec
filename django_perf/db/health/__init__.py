"""Ask a PostgreSQL server how it is: its indexes, tables, sessions and statements."""
