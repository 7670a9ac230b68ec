"""Show django_perf at work: a shop with an API, planted faults, live traffic and a demo command."""
