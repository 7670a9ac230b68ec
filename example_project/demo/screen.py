"""Show the demo: a panel with the addresses, and figures that redraw themselves on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text


class Screen:
    """Print lines anywhere; while it is entered, redraw figures too, if there is a terminal to redraw."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")

    @property
    def is_live(self) -> bool:
        """Whether figures can be redrawn."""
        return self._console.is_terminal

    def __enter__(self) -> Screen:
        if self.is_live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line that stays; the text is never read as markup."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def announce(self, url: str, login: str) -> None:
        """Show where to look."""
        text = f"Shop       {url}/products\nDashboard  {url}/admin/django_perf/performance/\nLogin      {login}"
        self._console.print(Panel(Text(text), title="django_perf demo", subtitle="Ctrl-C ends it", expand=False))

    def show(self, figures: str) -> None:
        """Redraw the figures."""
        self._live.update(cropped(figures), refresh=True)

    def conclude(self, figures: str) -> None:
        """Print the last figures: as they are into a file or a pipe, within its width on a terminal."""
        if self.is_live:
            # Printing joins texts and forgets what the text itself says about wrapping.
            self._console.print(cropped(figures), no_wrap=True, overflow="crop")
        else:
            self.say(figures)


def cropped(figures: str) -> Text:
    """Return figures cut at the edge of the terminal: a table that wraps cannot be read."""
    return Text.from_ansi(figures, no_wrap=True, overflow="crop")
