"""Show the reports as pages of the Django admin."""
