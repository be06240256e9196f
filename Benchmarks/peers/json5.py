"""Reads the part of JSON5 that configurations use: comments, bare names, single quotes, trailing
commas. Python's standard library has JSON only."""

import json
import re

STRING = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""


def plain_json(text):
    """The same document as JSON."""

    def outside_strings(pattern, replacement, text):
        whole = re.compile(f"({STRING})|{pattern}", re.S)
        return whole.sub(lambda m: m[1] if m[1] else m.expand(replacement), text)

    text = outside_strings(r"//[^\n]*|/\*.*?\*/", " ", text)
    text = outside_strings(r",(?=\s*[}\]])", " ", text)
    text = outside_strings(r"([A-Za-z_]\w*)(?=\s*:)", r'"\2"', text)
    return re.sub(STRING, lambda m: json.dumps(m[0][1:-1]) if m[0][0] == "'" else m[0], text)


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.loads(plain_json(file.read()))
