"""Writes native/text/unicode_tables.cc: what Hugging Face's BertNormalizer and BertPreTokenizer do to each code point,
asked of the `tokenizers` package one code point at a time. The tables, not the JavaScript engine's own Unicode version,
decide, so a text has the same ids on every Node.

    python scripts/make-unicode-tables.py        (needs: pip install tokenizers)
"""

import pathlib
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

TARGET = pathlib.Path(__file__).parent.parent / "native/text/unicode_tables.cc"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic in character_table.cc


def normalizer(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on})


def changes(rule):
    return {c: r for c in CODE_POINTS if (r := rule.normalize_str(chr(c))) != chr(c)}


def runs_of(points):
    """[first, last] of each run of consecutive code points."""
    runs = []
    for c in sorted(points):
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return runs


def ranges(points):
    return [f"{{{a:#x}, {b:#x}}}" for a, b in runs_of(points)]


def mapping(table):
    """{first, last, shift} where each code point of a run maps to itself plus shift; {first, last, 0, {a, b, c}}
    where each maps to the same one to three code points."""
    runs = []  # [first, last, shift or None, targets]
    for c in sorted(table):
        to = [ord(x) for x in table[c]]
        assert len(to) <= 4
        shift = to[0] - c if len(to) == 1 else None
        last = runs[-1] if runs else [None] * 4
        if last[1] == c - 1 and last[3] == to:
            last[1], last[2] = c, None
        elif last[1] == c - 1 and shift is not None and last[2] == shift:
            last[1], last[3] = c, None
        else:
            runs.append([c, c, shift, to])
    return [
        f"{{{a:#x}, {b:#x}, 0, {{{', '.join(f'{x:#x}' for x in to)}}}}}" if shift is None else f"{{{a:#x}, {b:#x}, {shift}, {{}}}}"
        for a, b, shift, to in runs
    ]


def word_characters():
    """Those that an added token with single_word must not touch: the regular expression \\w of the library."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_tokens([AddedToken("[T]", single_word=True, normalized=False)])
    found = tokenizer.encode_batch_fast([chr(c) + "[T]" for c in CODE_POINTS])
    return {c for c, encoding in zip(CODE_POINTS, found) if 1 not in encoding.ids}


def combining_classes():
    """Canonical combining classes above 0, by which NFD orders marks: the order shows the classes."""
    nfd = normalizers.NFD()

    def moves(first, second):
        return nfd.normalize_str(first + second) != nfd.normalize_str(first) + nfd.normalize_str(second)

    # A mark of each class: Python's tables say which, if the library, whose Unicode is older, orders it at all.
    samples = {240: "\u0345"}
    for c in CODE_POINTS:
        class_ = unicodedata.combining(chr(c))
        if class_ and class_ not in samples and moves(samples[240], chr(c)):
            samples[class_] = chr(c)
    classes = sorted(samples)
    result = {}
    for c in CODE_POINTS:
        mark = chr(c)
        if len(nfd.normalize_str(mark)) > 1:
            continue  # its parts are ordered, below
        if not moves(samples[240], mark) and not moves(mark, samples[1]):
            continue
        # The least class of which a mark does not move behind: c's own.
        result[c] = next(class_ for class_ in classes if not moves(mark, samples[class_]))
        assert result[c] == classes[-1] or not moves(samples[result[c]], mark), hex(c)
    for c in CODE_POINTS:
        parts = nfd.normalize_str(chr(c))
        if len(parts) > 1 and ord(parts[0]) in result:
            result[c] = result[ord(parts[0])]
    return result


def class_ranges(classes):
    return [
        f"{{{a:#x}, {b:#x}, {class_}}}"
        for class_ in sorted(set(classes.values()))
        for a, b in runs_of(c for c in classes if classes[c] == class_)
    ]


def array(element, name, comment, entries):
    lines, line = [], ""
    for entry in entries:
        if len(line) + len(entry) + 2 > 116:
            lines.append(line)
            line = ""
        line += (" " if line else "") + entry + ","
    lines.append(line)
    body = "\n".join(f"    {text}" for text in lines)
    return f"// {comment}\nconst {element} {name}[] = {{\n{body}\n}};\nconst size_t {name}_count = {len(entries)};\n"


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

marks = [c for c, r in stripped.items() if r == ""]
decomposed = {c: r for c, r in stripped.items() if r != "" and c not in HANGUL}
TARGET.write_text(
    f"// Made by scripts/make-unicode-tables.py from tokenizers {tokenizers.__version__}. Do not edit.\n"
    '#include "text/unicode_tables.h"\n\n'
    "// clang-format off\n"
    "namespace whittle::unicode {\n\n"
    + "\n".join(
        [
            array("Range", "kRemoved", "Dropped by clean_text.", ranges(c for c, r in cleaned.items() if r == "")),
            array("Range", "kSpaced", "Made a space by clean_text.", ranges(c for c, r in cleaned.items() if r == " ")),
            array("Range", "kChinese", "Set apart by handle_chinese_chars.", ranges(chinese)),
            array("Range", "kWhitespace", "Separates words.", ranges(whitespace)),
            array("Range", "kPunctuation", "Is a word of its own.", ranges(punctuation)),
            array("Range", "kMarks", "Dropped by strip_accents.", ranges(marks)),
            array("Mapping", "kStripped", "What strip_accents leaves of a code point; Hangul syllables are left out.", mapping(decomposed)),
            array("Mapping", "kLowered", "Lower case.", mapping(lowered)),
            array("Range", "kWordCharacters", "An added token with single_word does not touch these.", ranges(word_characters())),
            array("ClassRange", "kCombiningClasses", "Canonical combining classes above 0.", class_ranges(combining_classes())),
        ]
    )
    + "\n}  // namespace whittle::unicode\n",
    encoding="utf-8",
)
