"""Texts that somebody sends to break out of a page, a terminal or a spreadsheet, and how to see that one has."""

from __future__ import annotations

import unicodedata

MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "{{7*7}}{% debug %}",
    "{{ page.own.doc|safe }}{% include 'x' %}",
    "{0.__class__}%(route)s{id}",
    "</script><b>bold</b>",
    "</code></pre></section><form action=//evil.example>",
    "</a></td><a href=//evil.example>",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "&lt;i&gt;&#x3c;b&#62;",
    "]]><!--",
    "--><style>*{display:none}</style>",
    "[bold red]x[/bold red]",
    "<math><mtext></math><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "</title><meta http-equiv=refresh content=0;url=//evil.example>",
    "</textarea><input name=is_sure value=1>",
    "`onmouseover=alert(1)//",
    "| a | b |\\n|---|---|",
    "[text](javascript:alert(1)) ![x](//evil.example/x.png)",
)
INVISIBLE = (
    "\x00\x1b[2J",
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "a\r\nSet-Cookie: x",
    "\x7f\x9b31m",
    "\u202etxt.exe",
    "\u2066<b>\u2069",
    "\u200b\u2028\ufeff",
    "\ud800",
    "\u0085\u009b2J\u009d0;title\u009c",
    "\u061c\u2067a\u2069\u180e",
    "\ufff9a\ufffab\ufffb\u00ad",
    "=cmd|' /C'!A0",
    "+cmd|' /C'!A0",
    "-2+3+cmd|' /C'!A0",
    "@SUM(1+1)*cmd|' /C'!A0",
)
HOSTILE = (*MARKUP, *INVISIBLE, '<b title="' * 1_000)
PLAIN = tuple(f"name{number}" for number in range(len(HOSTILE)))


def unsafe_characters(text):
    """Return the control, format, surrogate and separator characters in a text; line feeds part lines."""
    return {char for char in text if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
