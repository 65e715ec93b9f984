"""PyTorch's side of bench/train.ts: `contestant.py WORK.json PRECISION THREADS`; a turn is a few training steps.

The loop is the usual one: batches padded to their longest row, torch.autocast for bfloat16, the fused AdamW, gradient
clipping, dropout on.
"""

import json
import random
import sys
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

work = json.load(open(sys.argv[1]))
precision, threads = sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
per_token = work["task"] == "token-classification"
model_class = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
model = model_class.from_pretrained(work["model"], num_labels=len(work["labels"]), dtype=torch.float32)
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
examples = work["examples"]
tokens_per_batch = 32 * sum(len(e["inputIds"]) for e in examples) / len(examples)
steps = max(3, round(4_000 / tokens_per_batch))


def batches():
    while True:
        order = random.sample(range(len(examples)), len(examples))
        for start in range(0, len(order), 32):
            rows = [examples[i] for i in order[start : start + 32]]
            longest = max(len(r["inputIds"]) for r in rows)
            pad = lambda values, fill: values + [fill] * (longest - len(values))
            yield sum(len(r["inputIds"]) for r in rows), {
                "input_ids": torch.tensor([pad(r["inputIds"], 0) for r in rows]),
                "attention_mask": torch.tensor([pad([1] * len(r["inputIds"]), 0) for r in rows]),
                "labels": torch.tensor([pad(r["tokenLabels"], -100) if per_token else r["label"] for r in rows]),
            }


def turn(source):
    tokens, started = 0, time.perf_counter()
    for _ in range(steps):
        count, batch = next(source)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        tokens += count
    return {"units": tokens, "seconds": time.perf_counter() - started}


source = batches()
turn(source)
print("ready", flush=True)
for _ in sys.stdin:
    print(json.dumps(turn(source)), flush=True)
