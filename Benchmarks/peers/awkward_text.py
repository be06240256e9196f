"""Random lines of text that tokenizers disagree on: every plane of Unicode, combining marks, joiners, control
characters, long runs, spaces of all kinds, words in many scripts, and empty lines."""

import random
import unicodedata

WORDS = (
    "the of and Hello WORLD don't I'll we've it's THEY'RE ſ'S camelCase snake_case HTTPServer 1234567890 3.14159 "
    "https://example.org/?q=1&r=%20 naïve café cafe\u0301 Straße ŒUVRE 東京都 日本語です 한국어 한국어 Привет мир "
    "مرحبا نمस्ते ไทย ગુજરાતી ⵜⴰⵎⴰⵣⵉⵖⵜ 👩‍👩‍👧‍👦 🇩🇪 👍🏽 e\u0301 \u200d \u200b \ufeff \u00ad ... !!! --- === <|endoftext|> "
    "<|im_start|> <|im_end|> <s> </s> <unk> <pad> [MASK] [CLS] <mark> ſ K İ ı ŉ ﬁ ﬃ Ǆ ǅ ½ ² Ⅳ Ⓐ ㌀ Å Å ṩ ẛ̣ a\u0328\u0301 "
    "▁ ▁▁ Ġ Ċ ## ##ing </w> <0x41> <0x0A> do not n't 's ' \" ` \\ / / #tag @user $5 €7 x=y; {a:b} [c] (d)"
).split()
SPACES = " \t\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b"
MARKS = "\u0300\u0301\u0327\u0345\u05b0\u0651\u093c\u0f71\u1161\u11a8\u3099\u20dd\ufe0f\u200d\u034f"


class AwkwardText:
    """Lines, the same for the same seed.

    Args:
        seed: of the random numbers.
        known: whether a character may be drawn beyond those in the words above. Libraries have tables of different
            versions of Unicode; characters that one of them does not know are left out.
    """

    def __init__(self, seed, known=lambda character: True):
        self.random = random.Random(seed)
        self.known = known
        # A plane at a time, so that small ones are as frequent as large ones.
        self.planes = [(0, 0x80), (0x80, 0x800), (0x800, 0x3400), (0x3400, 0xD800), (0xE000, 0x10000),
                       (0x10000, 0x20000), (0x20000, 0x32000), (0xE0000, 0xE01F0), (0xF0000, 0x110000)]

    def character(self):
        while True:
            character = chr(self.random.randrange(*self.random.choice(self.planes)))
            if character != "\n" and unicodedata.category(character) not in ("Cn", "Cs") and self.known(character):
                return character

    def part(self):
        random, kind = self.random, self.random.random()
        if kind < 0.45:
            return random.choice(WORDS) + " " * (random.random() < 0.7)
        if kind < 0.60:
            return "".join(self.character() for _ in range(random.randint(1, 6)))
        if kind < 0.68:
            return " " * random.randint(1, 9)
        if kind < 0.78:
            return "".join(chr(random.randint(32, 126)) for _ in range(random.randint(1, 10)))
        if kind < 0.84:
            return random.choice("aA1 -.é漢🙂\t") * random.randint(1, 100)
        if kind < 0.90:
            return "".join(random.choice(SPACES + "\x00\x1f\x7f") for _ in range(random.randint(1, 6)))
        if kind < 0.95:
            return "".join(random.choice("aeoا가" + MARKS) for _ in range(random.randint(1, 8)))
        return "".join(chr(random.randint(0x4E00, 0x9FFF)) for _ in range(random.randint(1, 8)))

    def line(self):
        return "".join(self.part() for _ in range(self.random.choice([0, 1, 1, 2, 4, 8, 12])))
