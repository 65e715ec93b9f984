"""What Hugging Face's `tokenizers` makes of many inputs, as one fingerprint each.

    python fingerprints.py CASES.json FINGERPRINTS.bin

CASES.json: `{"tokenizers": [contents of tokenizer.json], "groups": [{"tokenizer": index, "maxLength": number or null,
"inputs": [...]}]}`; an input is a text, a pair `{"text", "textPair"}` or `{"tokens"}`. A fingerprint is the first 8 bytes
of the MD5 of ids, token types, word indices (-1: none) and offsets (UTF-16 code units), all int32.
"""

import hashlib
import json
import sys

import numpy
from tokenizers import Tokenizer


def utf16_places(text):
    """UTF-16 code units before each code point, or None where they are code points."""
    if not text or max(text) <= "\uffff":
        return None
    units = numpy.frombuffer(text.encode("utf-32-le"), dtype=numpy.uint32)
    return numpy.concatenate([[0], numpy.cumsum(1 + (units > 0xFFFF))])


def fingerprint(given, encoding):
    words = numpy.array([-1 if word is None else word for word in encoding.word_ids], dtype=numpy.int32)
    offsets = numpy.array(encoding.offsets, dtype=numpy.int32).reshape(-1, 2)
    if isinstance(given, dict) and "tokens" in given:
        texts = given["tokens"]
        of_token = words
    else:
        texts = [given] if isinstance(given, str) else [given["text"], given["textPair"]]
        of_token = numpy.array([-1 if one is None else one for one in encoding.sequence_ids], dtype=numpy.int32)
    for index, text in enumerate(texts):
        places = utf16_places(text)
        if places is not None:
            rows = of_token == index
            offsets[rows] = places[offsets[rows]]
    digest = hashlib.md5()
    for column in (encoding.ids, encoding.type_ids, words, offsets):
        digest.update(numpy.array(column, dtype=numpy.int32).tobytes())
    return digest.digest()[:8]


cases = json.load(open(sys.argv[1], encoding="utf-8"))
tokenizers = [Tokenizer.from_str(json.dumps(one)) for one in cases["tokenizers"]]
with open(sys.argv[2], "wb") as out:
    for group in cases["groups"]:
        tokenizer = tokenizers[group["tokenizer"]]
        if group["maxLength"] is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(group["maxLength"], strategy="longest_first")
        for start in range(0, len(group["inputs"]), 2000):
            inputs = group["inputs"][start : start + 2000]
            is_words = isinstance(inputs[0], dict) and "tokens" in inputs[0]
            given = [
                one if isinstance(one, str) else one["tokens"] if is_words else (one["text"], one["textPair"])
                for one in inputs
            ]
            for one, encoding in zip(inputs, tokenizer.encode_batch(given, is_pretokenized=is_words)):
                out.write(fingerprint(one, encoding))
print(json.dumps({"version": __import__("tokenizers").__version__}))
