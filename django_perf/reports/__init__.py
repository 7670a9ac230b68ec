"""Declare what readers show: each report once, rendered as HTML, text, JSON or CSV."""
