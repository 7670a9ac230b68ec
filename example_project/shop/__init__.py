"""Sell things over a JSON API: the textbook product API with its faults corrected.

A price is a JSON string with two decimals ("9.90"): a JSON number is a binary float for most readers, and money is
not. Requests may send a string or a number; a number is read as a decimal, digit by digit.

Answers: one product is an object, a list is `{"items": [...], "total", "page", "per_page", "pages"}`; with `?cursor=`
it is `{"items": [...], "per_page", "next_cursor"}`, where an empty cursor asks for the first page and a null
`next_cursor` marks the last. An error is `{"error": text}`, with `"fields": {name: text}` when fields are to blame.
"""
