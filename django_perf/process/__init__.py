"""Watch the process itself."""
