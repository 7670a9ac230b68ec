"""Tell people: by mail to the admins, or as JSON to a webhook."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from django.core.mail import mail_admins

from .. import __version__
from ..conf import Settings
from .messages import Message

EMAIL, WEBHOOK = "email", "webhook"
TIMEOUT_S = 3.0

Send = Callable[[Message], None]


def channels(settings: Settings) -> dict[str, Send]:
    """Return the channels that are switched on; each raises what goes wrong."""
    found: dict[str, Send] = {}
    if settings.alert_emails:
        found[EMAIL] = send_email
    if settings.alert_webhook:
        found[WEBHOOK] = partial(post, settings.alert_webhook)
    return found


def send_email(message: Message) -> None:
    """Mail one message to the ADMINS, with the host's own EMAIL settings."""
    mail_admins(message.subject, message.body)


def post(url: str, message: Message) -> None:
    """Send one message to a webhook; raises OSError: HTTPError for any other answer than 2xx."""
    body = json.dumps(message.data, allow_nan=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": f"django_perf/{__version__}"}
    request = Request(url, body, headers, method="POST")  # noqa: S310 - the settings' check allows http and https
    with _opener().open(request, timeout=TIMEOUT_S):
        """Its answer is of no interest."""


def _opener() -> OpenerDirector:
    """Return what opens http and https and nothing else.

    Without a handler for redirects one is an error: whom an answer names is nobody that the settings have named.
    """
    opener = OpenerDirector()
    handlers = (ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor())
    for handler in handlers:
        opener.add_handler(handler)
    return opener
