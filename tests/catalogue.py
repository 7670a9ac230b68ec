"""Read what is to be translated, from the sources, and what is translated, from a catalogue: by (context, English)."""

from __future__ import annotations

import ast
import gettext
import re
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation.template import templatize

PACKAGE = Path(__file__).parents[1] / "django_perf"
# By the names of Django's functions: does it take a context, and a plural?
_FUNCTIONS = {
    f"{name}{end}": (name.startswith(("p", "np")), name.startswith("n"))
    for name in ("gettext", "ngettext", "pgettext", "npgettext")
    for end in ("", "_lazy", "_noop")
} | {"_": (False, False)}
_TEXT = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\(({_TEXT}(?:, ?{_TEXT})*)")
_ENTRY = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:"[^\n]*"\n?)+)', re.MULTILINE)


@dataclass(frozen=True)
class Message:
    """One entry of a catalogue; the texts of a plural are two."""

    context: str | None
    originals: tuple[str, ...]
    translations: tuple[str, ...]
    is_fuzzy: bool

    @property
    def key(self):
        return self.context, self.originals[0]


def in_sources():
    """Return all that makemessages finds."""
    found = set()
    for path in PACKAGE.rglob("*.html"):
        calls = _CALL.findall(templatize(path.read_text()))
        found |= {_key(name, ast.literal_eval(f"[{texts}]")) for name, texts in calls}
    for path in PACKAGE.rglob("*.py"):
        found |= set(_in_module(ast.parse(path.read_text())))
    return found


def _in_module(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if len(texts) > _FUNCTIONS[node.func.id][0]:  # a variable is looked up, and comes from elsewhere
                yield _key(node.func.id, texts)


def sentences(path):
    """Yield the texts of a module that have several words and are no docstrings, and are not marked for translation."""
    tree = ast.parse(path.read_text())
    marked = {id(one) for call in ast.walk(tree) if _is_marked(call) for one in ast.walk(call)}
    docstrings = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in marked | docstrings:
            text = _literal(node)
            if len(text.split()) > 3:
                yield text


def _is_marked(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS


def _literal(node):
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return " ".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _key(function, texts):
    return (texts[0], texts[1]) if _FUNCTIONS[function][0] else (None, texts[0])


def read_po(language):
    """Return the messages of a catalogue as translators write it, less its header."""
    text = (PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po").read_text()
    return [message for block in text.split("\n\n")[1:] if (message := _message(block)) is not None]


def _message(block):
    entries = [(name, "".join(map(ast.literal_eval, texts.splitlines()))) for name, texts in _ENTRY.findall(block)]
    if not entries:
        return None
    return Message(
        context=dict(entries).get("msgctxt"),
        originals=tuple(text for name, text in entries if name in ("msgid", "msgid_plural")),
        translations=tuple(text for name, text in entries if name.startswith("msgstr")),
        is_fuzzy=bool(re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE)),
    )


def read_mo(language):
    """Return what a compiled catalogue says: translations by (context, English)."""
    with (PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog
    found = {}
    for key, text in compiled.items():
        original, number = key if isinstance(key, tuple) else (key, 0)
        context, _, english = original.rpartition("\x04")
        if english:
            found.setdefault((context or None, english), {})[number] = text
    return {key: tuple(texts[number] for number in sorted(texts)) for key, texts in found.items()}
