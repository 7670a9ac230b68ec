"""Tests of django_perf.requests."""
