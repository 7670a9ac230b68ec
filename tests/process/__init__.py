"""Tests of django_perf.process."""
