"""A small site to be served by gunicorn: views of a known duration, and a clock of its own inside the timed stretch."""
