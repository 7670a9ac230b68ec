"""Tests of django_perf.db.health."""
