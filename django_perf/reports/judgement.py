"""Hold what a report makes of one of its rows: the advisor adds how severe it is, and by which figures."""

from __future__ import annotations

from typing import NamedTuple


class Judgement(NamedTuple):
    """Name what is wrong, say it where the figures of the row do not, and say what to do."""

    rule: str
    evidence: str
    remedy: str

    @property
    def text(self) -> str:
        """Return both in one sentence."""
        return f"{self.evidence}: {self.remedy}" if self.evidence else self.remedy
