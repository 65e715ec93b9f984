"""What the Python contestants share: the work file, batches, the choice of options, and turns (see harness/contest.ts).

A contestant calls `compete` with its options' candidates and a function that prepares a run with chosen ones. Every option
takes the candidate that does this work fastest, one option after the other, the batch size first, unless the third
argument says what was chosen before.
"""
import functools
import json
import sys
import time

import numpy as np
from tokenizers import Tokenizer

THREADS = 2
LEAST_SECONDS = 0.3


class Work:
    """harness/work.ts: `lengths` of sequences of made-up ids, or `texts` with the `tokenizer` that splits them."""

    def __init__(self, path):
        with open(path, encoding="utf8") as file:
            work = json.load(file)
        self.tokenizer = None
        if "texts" in work:
            self.texts = work["texts"]
            self.tokenizer = Tokenizer.from_file(work["tokenizer"] + "/tokenizer.json")
            self.tokenizer.no_padding()
            self.tokenizer.enable_truncation(work["maxLength"])
        else:
            self.rows = [made_up_ids(row, length) for row, length in enumerate(work["lengths"])]
        self.count = len(work.get("texts") or work["lengths"])
        lengths = [len(row) for row in self.tokenize()]
        self.shape = (self.count, lengths[0]) if min(lengths) == max(lengths) else None
        self.batch_sizes = sorted({min(size, self.count) for size in (32, 16, 8)}, reverse=True)

    def tokenize(self):
        if self.tokenizer is None:
            return self.rows
        return [encoding.ids for encoding in self.tokenizer.encode_batch(self.texts)]

    def once(self, run, batch_size):
        """All of the work. `run` takes batches `(ids, mask)`, int64 [batch, longest], and gives their logits."""
        rows = self.tokenize()
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        chosen = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        results = [None] * len(rows)
        for indices, logits in zip(chosen, run([padded([rows[index] for index in indices]) for indices in chosen])):
            for index, classes in zip(indices, logits.argmax(-1)):
                results[index] = classes
        return results


def made_up_ids(row, length):
    return [1000 + (row * 131 + column * 31) % 20000 for column in range(length)]


def padded(rows):
    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def compete(work, version, candidates, prepare):
    """`prepare(batch_size=..., **options)` gives `run` (see Work.once); `candidates` names each option's values."""
    candidates = {"batch_size": work.batch_sizes, **candidates}
    chosen = json.loads(sys.argv[3]) if len(sys.argv) > 3 else choose(work, candidates, prepare)
    run, _ = warmed_up(work, chosen, prepare)
    print("ready " + json.dumps({"version": version, "chosen": chosen}), flush=True)
    for _ in sys.stdin:
        units, spent = 0, 0.0
        while spent < LEAST_SECONDS:
            spent += timed(work, run, chosen["batch_size"])
            units += work.count
        print(json.dumps({"units": units, "seconds": spent}), flush=True)


def choose(work, candidates, prepare):
    seconds = functools.cache(lambda *options: warmed_up(work, dict(options), prepare)[1])
    chosen = {name: values[0] for name, values in candidates.items()}
    for name, values in candidates.items():
        chosen[name] = min(values, key=lambda value: seconds(*{**chosen, name: value}.items()))
    return chosen


def warmed_up(work, options, prepare):
    """The run, and the seconds of its best turn."""
    run = prepare(**options)
    best = timed(work, run, options["batch_size"])
    for _ in range(3 if best < 1 else 1):
        best = min(best, timed(work, run, options["batch_size"]))
    return run, best


def timed(work, run, batch_size):
    started = time.perf_counter()
    work.once(run, batch_size)
    return time.perf_counter() - started
