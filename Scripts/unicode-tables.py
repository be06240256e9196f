#!/usr/bin/env python3
"""Writes Sources/Tokenizers/Unicode/UnicodeTables.swift: what tokenizers need of the Unicode Character Database.

    pip install unicodedata2==16.0.0 fonttools tokenizers
    Scripts/unicode-tables.py >Sources/Tokenizers/Unicode/UnicodeTables.swift

Properties are those of Unicode 16. Normalisation is that of the library that published tokenizers were trained with,
Hugging Face's tokenizers, which has an older version: characters assigned since then are left as they are.

A table is a string of numbers in base 32, the lowest digit first, in the characters of ALPHABET; a digit that others
follow comes from its second half.
"""

import unicodedata2 as unicode
from fontTools import unicodedata as scripts
from tokenizers import normalizers

VERSION = "16.0.0"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WIDTH = 88
SCALARS = range(0x110000)
CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn"
).split()


def digits(number):
    text = ""
    while number >= 32:
        text += ALPHABET[32 + number % 32]
        number //= 32
    return text + ALPHABET[number]


def runs(value_of):
    """Length and value of each run of scalars with equal values."""
    numbers, length, current = [], 0, None
    for scalar in SCALARS:
        value = value_of(scalar)
        if value != current and length:
            numbers += [length, current]
            length = 0
        current = value
        length += 1
    return numbers + [length, current]


def combining_class(scalar):
    """The class, if the library sorts marks by it: after U+0334, of class 1, or for class 1 before U+0301."""
    value = unicode.combining(chr(scalar))
    if value == 0:
        return 0
    marks = chr(scalar) + "\u0334" if value > 1 else "\u0301" + chr(scalar)
    return value if normalizers.NFD().normalize_str("a" + marks) != "a" + marks else 0


def decompositions():
    """For each scalar: distance from the last, kind, length, mapping. Kind 0 is a compatibility mapping, 1 a canonical
    one, 2 a canonical one that composition reverses."""
    numbers, last = [], 0
    for scalar in SCALARS:
        fields = unicode.decomposition(chr(scalar)).split()
        if not fields or normalizers.NFKD().normalize_str(chr(scalar)) == chr(scalar):
            continue
        is_canonical = not fields[0].startswith("<")
        composes = is_canonical and unicode.normalize("NFC", chr(scalar)) == chr(scalar)
        mapping = [int(field, 16) for field in fields if not field.startswith("<")]
        numbers += [scalar - last, is_canonical + composes, len(mapping), *mapping]
        last = scalar
    return numbers


def script_table():
    codes = sorted({scripts.script(chr(scalar)) for scalar in SCALARS})
    names = [scripts.script_name(code) for code in codes]
    unknown = codes.index("Zzzz")

    def script(scalar):
        if unicode.category(chr(scalar)) == "Cn":
            return unknown
        return codes.index(scripts.script(chr(scalar)))

    return codes, names, runs(script)


def swift_string(name, comment, text):
    print(f"\n  /// {comment}")
    print(f'  static let {name}: StaticString = """')
    for start in range(0, len(text), WIDTH):
        end = "\\" if start + WIDTH < len(text) else ""
        print(f"    {text[start:start + WIDTH]}{end}")
    print('    """')


def table(name, comment, numbers):
    swift_string(name, comment, "".join(map(digits, numbers)))


assert unicode.unidata_version == VERSION, unicode.unidata_version
codes, names, script_runs = script_table()
print(f"// Unicode {VERSION}. Written by Scripts/unicode-tables.py, which explains the form of the tables.")
print("enum UnicodeTables {", end="")
table(
    "categories",
    "Runs of scalars: length, index into `GeneralCategory`.",
    runs(lambda scalar: CATEGORIES.index(unicode.category(chr(scalar)))),
)
table(
    "combiningClasses",
    "Runs of scalars: length, canonical combining class.",
    runs(combining_class),
)
table(
    "decompositions",
    "Scalars with a decomposition: distance from the last one, kind, length, mapping.",
    decompositions(),
)
table("scripts", "Runs of scalars: length, index into `scriptNames`.", script_runs)
swift_string("scriptNames", "Names of scripts.", " ".join(name.replace(" ", "_") for name in names))
swift_string("scriptCodes", "Codes of scripts (ISO 15924), in the order of their names.", " ".join(codes))
print("}")
