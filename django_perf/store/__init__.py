"""Keep aggregates in a database: a log of deltas, and rollups that one compactor makes of it."""
