"""Measure what goes to the databases."""
