"""PyTorch's side of bench/train.ts: `contestant.py WORK.json PRECISION THREADS`; a turn is a few training steps.

The loop is the usual one at its best on a CPU: rows grouped by length as Transformers' group_by_length does, batches
padded to their longest row, torch.autocast for bfloat16, the fused AdamW, gradient clipping, dropout on.
"""

import json
import os
import random
import sys
import time

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

work = json.load(open(sys.argv[1]))
precision, threads = sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
per_token = work["task"] == "token-classification"
model_class = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
labels = len(work["labels"])
if os.path.exists(os.path.join(work["model"], "model.safetensors")):
    model = model_class.from_pretrained(work["model"], num_labels=labels, dtype=torch.float32)
else:
    model = model_class.from_config(AutoConfig.from_pretrained(work["model"], num_labels=labels))
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
examples, batch_size = work["examples"], work["batchSize"]


def grouped_order():
    """A random order in which runs of 50 batches are sorted by length (transformers.trainer_pt_utils)."""
    order = random.sample(range(len(examples)), len(examples))
    run = 50 * batch_size
    runs = [order[start : start + run] for start in range(0, len(order), run)]
    return [i for rows in runs for i in sorted(rows, key=lambda i: -len(examples[i]["inputIds"]))]


def batches():
    while True:
        order = grouped_order()
        for start in range(0, len(order), batch_size):
            rows = [examples[i] for i in order[start : start + batch_size]]
            longest = max(len(r["inputIds"]) for r in rows)
            pad = lambda values, fill: values + [fill] * (longest - len(values))
            yield sum(len(r["inputIds"]) for r in rows), {
                "input_ids": torch.tensor([pad(r["inputIds"], 0) for r in rows]),
                "attention_mask": torch.tensor([pad([1] * len(r["inputIds"]), 0) for r in rows]),
                "labels": torch.tensor([pad(r["tokenLabels"], -100) if per_token else r["label"] for r in rows]),
            }


def turn(source, steps):
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


turn(batches(), work["warmupSteps"])
print("ready", flush=True)
source = batches()
for _ in sys.stdin:
    print(json.dumps(turn(source, work["stepsPerTurn"])), flush=True)
