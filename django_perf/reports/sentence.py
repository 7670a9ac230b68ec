"""Write figures into sentences that are translated where they are built; perfstats and files leave them English."""

from __future__ import annotations

from django.utils.translation import get_language

# What the tables group digits with: 2,000 is two in half of the languages.
_THIN_SPACE = "\u202f"


def figure(value: float, form: str = ",") -> str:
    """Return a number as format() writes it, its digits grouped as in the tables where the reader's language asks."""
    text = format(value, form)
    is_english = (get_language() or "en").startswith("en")
    return text if is_english else text.replace(",", _THIN_SPACE)
