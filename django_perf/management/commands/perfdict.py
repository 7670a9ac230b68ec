"""Build compression dictionaries from public pages, and take them into use when somebody has looked at them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.test import Client
from django.utils import timezone

from ...compression.building import AT_LEAST, build
from ...compression.dictionary import MAX_AGE_S, is_match, is_match_of
from ...compression.models import CompressionDictionary
from ...compression.rules import is_text
from ...conf import get_settings
from ...metrics.recorder import recorder


@contextmanager
def _unmeasured() -> Iterator[None]:
    """Keep what this process asks of itself out of the site's figures: it is no traffic."""
    enabled, wake = recorder.enabled, recorder.wake
    recorder.wake = None  # the flusher that writes them
    try:
        yield
    finally:
        recorder.enabled = False
        recorder.drain()
        recorder.enabled, recorder.wake = enabled, wake


def _readable(content: bytes) -> str:
    """Return text that does nothing but be read: what is approved must not hide itself from the terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1]
        for letter in content.decode(errors="replace")
    )


State = CompressionDictionary.State
_SMALLEST = 200
_OK = 200


class Command(BaseCommand):
    """One action on the dictionaries of DJANGO_PERF["COMPRESSION"]["DICTIONARIES"]."""

    help = "Build, look at, approve and retire compression dictionaries (RFC 9842)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their arguments."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        making = actions.add_parser(
            "build", help="Ask for public pages as a stranger, and keep what they have in common."
        )
        making.add_argument("match", help="The paths it is for, such as /products* (* is any text).")
        making.add_argument("url", nargs="+", help=f"{AT_LEAST} or more pages of these paths: /products?page=2")
        making.add_argument("--host", help="The host to ask for; the first of ALLOWED_HOSTS if left out.")
        making.add_argument("--approve", action="store_true", help="Take it into use without asking.")
        actions.add_parser("list", help="All dictionaries, their paths and states.")
        for name, text in (
            ("show", "Print one, to be read before it is approved."),
            ("approve", "Take one into use."),
            ("retire", "Tell no browser of it any more; those that have it may still read it."),
        ):
            actions.add_parser(name, help=text).add_argument("hash", help="The beginning of its hash, as `list` shows.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action."""
        getattr(self, f"_{options['action']}")(options)

    def _build(self, options: dict[str, Any]) -> None:
        match = options["match"]
        if not is_match(match):
            raise CommandError(f"{match!r} is no path with * in it: letters, digits, / _ . ~ - and * are allowed")
        with _unmeasured():
            content = build(list(self._answers(match, options["url"], options["host"])))
        if len(content) < _SMALLEST:
            raise CommandError(
                f"only {len(content)} bytes are the same in {AT_LEAST} answers: a dictionary gains nothing"
            )
        name = sha256(content).hexdigest()
        row, is_new = CompressionDictionary.objects.get_or_create(
            sha256=name, defaults={"match": match, "content": content, "created": timezone.now()}
        )
        if row.match != match:
            if row.state == State.ACTIVE:
                raise CommandError(f"{name[:12]} has the same content, and is in use for {row.match}")
            row.match = match
            row.save()
        self.stdout.write(_readable(content))
        self.stdout.write(f"{name[:12]}: {len(content)} bytes for {row.match}, {'new' if is_new else row.state}")
        if options["approve"] or self._is_approved():
            self._take(row)
        else:
            self.stdout.write(f"Not in use. After reading it: perfdict approve {name[:12]}")

    def _answers(self, match: str, urls: Sequence[str], host: str | None) -> Iterator[bytes]:
        """Yield the bodies of pages, each asked for by a stranger without cookies. Raises CommandError."""
        if len(set(urls)) < AT_LEAST:
            raise CommandError(f"{len(set(urls))} pages: what fewer than {AT_LEAST} have in common may be somebody's")
        allowed = [name.lstrip(".") for name in django_settings.ALLOWED_HOSTS if name.lstrip(".") not in ("", "*")]
        name = host or (allowed[0] if allowed else "localhost")
        for url in dict.fromkeys(urls):
            if not is_match_of(match, unquote(urlsplit(url).path)):
                raise CommandError(f"{url} is not one of the paths {match}")
            # From nowhere: a site may show more to its own machine.
            client = Client(raise_request_exception=False, REMOTE_ADDR="192.0.2.1")
            answer = client.get(url, secure=django_settings.SECURE_SSL_REDIRECT, SERVER_NAME=name)
            self._check(url, answer)
            yield answer.getvalue()

    @staticmethod
    def _check(url: str, answer: Any) -> None:
        control = _readable(answer.headers.get("Cache-Control", "").lower().encode())
        if answer.status_code != _OK:
            raise CommandError(
                f"{url} answered a stranger with {answer.status_code}: name pages that everybody may see"
            )
        if "private" in control or "no-store" in control:
            raise CommandError(f"{url} says Cache-Control: {control[:100]}; such pages are not public")
        if "Content-Encoding" in answer.headers or (answer.streaming and answer.is_async):
            raise CommandError(f"{url} answers in a coding of its own, or asynchronously: its bytes say nothing")
        if not is_text(answer.headers.get("Content-Type", ""), get_settings().compression.content_types):
            raise CommandError(f"{url} is {answer.headers.get('Content-Type', '')[:100]!a}, which is not compressed")

    def _is_approved(self) -> bool:
        """Ask, where there is somebody to ask."""
        return sys.stdin.isatty() and input("Is there nothing in it that not everybody may read? [y/N] ").lower() == "y"

    def _list(self, options: dict[str, Any]) -> None:
        rows = CompressionDictionary.objects.order_by("-created")
        for row in rows:
            size = f"{len(row.content):>7} bytes"
            self.stdout.write(f"{row.sha256[:12]}  {row.state:8}  {size}  {row.created:%Y-%m-%d %H:%M}  {row.match}")
        if not rows:
            self.stdout.write("no dictionary: build one with `perfdict build`")

    def _show(self, options: dict[str, Any]) -> None:
        self.stdout.write(_readable(bytes(self._row(options["hash"]).content)))

    def _approve(self, options: dict[str, Any]) -> None:
        self._take(self._row(options["hash"]))

    def _take(self, row: CompressionDictionary) -> None:
        row.state, row.retired = State.ACTIVE, None
        row.save()
        others = CompressionDictionary.objects.filter(match=row.match, state=State.ACTIVE).exclude(pk=row.pk)
        others.update(state=State.RETIRED, retired=timezone.now())
        self._forget_old()
        self.stdout.write(f"{row.sha256[:12]} is in use for {row.match}; every process knows it within half a minute")

    def _retire(self, options: dict[str, Any]) -> None:
        row = self._row(options["hash"])
        if row.state == State.DRAFT:  # a retired one is still served, and nobody has approved this
            row.delete()
            self.stdout.write(f"{row.sha256[:12]} was never in use; it is deleted")
            return
        if row.state == State.RETIRED:
            raise CommandError(f"{row.sha256[:12]} is retired already")
        row.state, row.retired = State.RETIRED, timezone.now()
        row.save()
        self._forget_old()
        self.stdout.write(f"{row.sha256[:12]} is retired; it can be read for {MAX_AGE_S // 86_400} more days")

    @staticmethod
    def _forget_old() -> None:
        """Delete what no browser may have any more."""
        last = timezone.now() - timedelta(seconds=2 * MAX_AGE_S)
        CompressionDictionary.objects.filter(state=State.RETIRED, retired__lt=last).delete()

    @staticmethod
    def _row(start: str) -> CompressionDictionary:
        rows = list(CompressionDictionary.objects.filter(sha256__startswith=start.lower())[:2])
        if len(rows) != 1:
            raise CommandError(
                f"{'several dictionaries begin' if rows else 'no dictionary begins'} with {start[:64]!r}"
            )
        return rows[0]
