"""Tell a developer of alerts that would reach nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured

from ..conf import get_settings


def check_alerts(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when mails about alerts would go to nobody (W011)."""
    try:
        is_on = get_settings().alert_emails
    except ImproperlyConfigured:
        return []  # check_settings says why
    if not is_on or django_settings.ADMINS:
        return []
    text = "ALERT_EMAILS is on and ADMINS is empty: no mail about an alert goes to anybody"
    return [Warning(text, hint="Name somebody in ADMINS, or leave ALERT_EMAILS out.", id="django_perf.W011")]
