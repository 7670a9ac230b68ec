"""Let other apps hear of alerts."""

from __future__ import annotations

from django.dispatch import Signal

# Sent in the flusher's thread of one process: sender is the Rule; alert (its title), is_firing, value (None where too
# little was measured), endpoint ("GET route", "" for the whole site).
alert_changed = Signal()
