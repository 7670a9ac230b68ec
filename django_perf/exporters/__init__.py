"""Hand what was measured to other systems: Prometheus, which asks, and OpenTelemetry, which is told."""
