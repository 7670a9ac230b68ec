"""Tests of django_perf.advisor."""
