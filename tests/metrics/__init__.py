"""Tests of django_perf.metrics."""
