"""Writes lib/data/tokenizer/unicode-tables.ts: what Hugging Face's BertNormalizer and BertPreTokenizer do to each code
point, asked of the `tokenizers` package one code point at a time. The tables, not the JavaScript engine's own Unicode
version, decide, so a text has the same ids on every Node.

    python scripts/make-unicode-tables.py        (needs: pip install tokenizers)
"""

import pathlib
import tokenizers
from tokenizers import normalizers, pre_tokenizers

TARGET = pathlib.Path(__file__).parent.parent / "lib/data/tokenizer/unicode-tables.ts"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic in character-map.ts


def normalizer(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on})


def changes(rule):
    return {c: r for c in CODE_POINTS if (r := rule.normalize_str(chr(c))) != chr(c)}


def ranges(points):
    runs = []
    for c in sorted(points):
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return [f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in runs]


def mapping(table):
    """`c0-c5>41`: all to 41; `41-5a+20`: each to itself plus 20 (or minus); `c7>43.327`: to a string."""
    runs = []  # [first, last, kind, value]
    for c in sorted(table):
        to = [ord(x) for x in table[c]]
        constant = (">", ".".join(f"{x:x}" for x in to))
        shift = ("+" if to[0] >= c else "-", f"{abs(to[0] - c):x}") if len(to) == 1 else None
        if runs and runs[-1][1] == c - 1 and runs[-1][2] & {constant, shift} - {None}:
            runs[-1][1] = c
            runs[-1][2] &= {constant, shift} - {None}
        else:
            runs.append([c, c, {constant, shift} - {None}])
    out = []
    for first, last, kinds in runs:
        kind, value = sorted(kinds, reverse=True)[0]  # '>' before '-' before '+'
        out.append((f"{first:x}" if first == last else f"{first:x}-{last:x}") + kind + value)
    return out


def constant(name, comment, entries):
    lines, line = [], ""
    for entry in entries:
        if len(line) + len(entry) + 1 > 112:
            lines.append(line)
            line = entry
        else:
            line = f"{line} {entry}".strip()
    lines.append(line)
    body = " +\n".join(f"  '{text}{' ' if i + 1 < len(lines) else ''}'" for i, text in enumerate(lines))
    if len(lines) == 1:
        return f"/** {comment} */\nexport const {name} ={chr(10) + body if len(lines[0]) > 80 else ' ' + body.strip()};\n"
    return f"/** {comment} */\nexport const {name} =\n{body};\n"


cleaned = changes(normalizer(clean_text=True))
chinese = changes(normalizer(handle_chinese_chars=True))
stripped = changes(normalizer(strip_accents=True))
lowered = changes(normalizer(lowercase=True))
splitter = pre_tokenizers.BertPreTokenizer()
pieces = {c: [t for t, _ in splitter.pre_tokenize_str("a" + chr(c) + "b")] for c in CODE_POINTS}
whitespace = {c for c in CODE_POINTS if pieces[c] == ["a", "b"]}
punctuation = {c for c in CODE_POINTS if pieces[c] == ["a", chr(c), "b"]}

assert all(r in ("", " ") for r in cleaned.values())
assert all(r == f" {chr(c)} " for c, r in chinese.items())
assert all(len(pieces[c]) == 1 for c in CODE_POINTS if c not in whitespace | punctuation)
for c in CODE_POINTS:  # a code point becomes word characters only, or one white space, or one punctuation character
    for text in (stripped.get(c, chr(c)), "".join(lowered.get(ord(x), x) for x in stripped.get(c, chr(c)))):
        assert len(text) <= 1 or not any(ord(x) in whitespace | punctuation for x in text), hex(c)

TARGET.write_text(
    f"// Made by scripts/make-unicode-tables.py from tokenizers {tokenizers.__version__}. Do not edit. Numbers are\n"
    "// hexadecimal code points; `a-b` is a range, `a>b` maps a to b (`b.c`: to two), `a+d` and `a-b+d` add d.\n\n"
    + constant("removed", "Dropped by clean_text.", ranges(c for c, r in cleaned.items() if r == ""))
    + "\n"
    + constant("spaced", "Made a space by clean_text.", ranges(c for c, r in cleaned.items() if r == " "))
    + "\n"
    + constant("chinese", "Set apart by handle_chinese_chars.", ranges(chinese))
    + "\n"
    + constant("whitespace", "Separates words.", ranges(whitespace))
    + "\n"
    + constant("punctuation", "Is a word of its own.", ranges(punctuation))
    + "\n"
    + constant("marks", "Dropped by strip_accents.", ranges(c for c, r in stripped.items() if r == ""))
    + "\n"
    + constant(
        "stripped",
        "What strip_accents leaves of a code point; Hangul syllables, decomposed by arithmetic, are left out.",
        mapping({c: r for c, r in stripped.items() if r != "" and c not in HANGUL}),
    )
    + "\n"
    + constant("lowered", "Lower case.", mapping(lowered)),
    encoding="utf-8",
)
