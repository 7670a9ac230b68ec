"""Tests of django_perf.db.plans."""
