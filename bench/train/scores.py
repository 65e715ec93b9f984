"""Transformers' side of bench/scores.ts: `scores.py DATA MODEL LEARNING_RATE EPOCHS THREADS SEED` prints a test score.

PyTorch with bf16 autocast, AdamW, linear schedule with 10 % warm-up, batch 32, the best epoch on dev. Batches are
shuffled with length grouping as Transformers' Trainer does it: within runs of 50 batches, sorted by length. The score
is accuracy, entity F1 (seqeval) where rows have tags, or Spearman's correlation where labels are numbers.
"""

import copy
import json
import math
import pathlib
import random
import sys

import torch
from scipy.stats import spearmanr
from seqeval.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

folder, model_folder = pathlib.Path(sys.argv[1]), sys.argv[2]
learning_rate, epochs, threads, seed = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
torch.set_num_threads(threads)
torch.manual_seed(seed)
random.seed(seed)
splits = {s: [json.loads(line) for line in open(folder / f"{s}.jsonl")] for s in ("train", "dev", "test")}
per_token = "tokens" in splits["train"][0]
regression = not per_token and not isinstance(splits["train"][0]["label"], str)
labels = sorted({t for r in splits["train"] for t in (r["tags"] if per_token else [r["label"]])})
index = {label: i for i, label in enumerate(labels)}
tokenizer = AutoTokenizer.from_pretrained(model_folder)
model_class = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
model = model_class.from_pretrained(model_folder, num_labels=1 if regression else len(labels), dtype=torch.float32)


def encode(row):
    if not per_token:
        encoding = tokenizer(row["text"], row.get("textPair"), truncation=True, max_length=128)
        label = row["label"] if regression else index[row["label"]]
        return {"ids": encoding["input_ids"], "types": encoding["token_type_ids"], "labels": label}
    encoding = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=128)
    words = encoding.word_ids()
    first = [w is not None and (i == 0 or words[i - 1] != w) for i, w in enumerate(words)]
    tags = [index[row["tags"][w]] if f else -100 for w, f in zip(words, first)]
    starts = [w if f else None for w, f in zip(words, first)]
    return {"ids": encoding["input_ids"], "types": encoding["token_type_ids"], "labels": tags, "words": starts}


examples = {s: [encode(r) for r in rows] for s, rows in splits.items()}


def collate(rows):
    longest = max(len(r["ids"]) for r in rows)
    pad = lambda values, fill: values + [fill] * (longest - len(values))
    return {
        "input_ids": torch.tensor([pad(r["ids"], 0) for r in rows]),
        "token_type_ids": torch.tensor([pad(r["types"], 0) for r in rows]),
        "attention_mask": torch.tensor([pad([1] * len(r["ids"]), 0) for r in rows]),
        "labels": torch.tensor([pad(r["labels"], -100) if per_token else r["labels"] for r in rows]),
    }


def shuffled(rows):
    order = random.sample(range(len(rows)), len(rows))
    runs = [order[i : i + 50 * 32] for i in range(0, len(order), 50 * 32)]
    runs = [sorted(run, key=lambda i: -len(rows[i]["ids"])) for run in runs]
    batches = [run[i : i + 32] for run in runs for i in range(0, len(run), 32)]
    random.shuffle(batches)
    return batches


@torch.no_grad()
def score(split):
    model.eval()
    predicted = []
    for start in range(0, len(examples[split]), 64):
        rows = examples[split][start : start + 64]
        logits = model(**collate(rows)).logits
        best = (logits[:, 0] if regression else logits.argmax(-1)).tolist()
        for row, answer in zip(rows, best):
            if per_token:
                source = splits[split][len(predicted)]
                tags = ["O"] * len(source["tokens"])
                for word, tag in zip(row["words"], answer):
                    if word is not None:
                        tags[word] = labels[tag]
                predicted.append(tags)
            else:
                predicted.append(answer)
    if regression:
        return spearmanr(predicted, [e["labels"] for e in examples[split]]).statistic
    if per_token:
        return f1_score([r["tags"] for r in splits[split]], predicted)
    return sum(p == e["labels"] for p, e in zip(predicted, examples[split])) / len(predicted)


parameters = dict(model.named_parameters())
decayed = lambda name: not (name.endswith(".bias") or "LayerNorm" in name)
groups = [
    {"params": [p for n, p in parameters.items() if decayed(n)], "weight_decay": 0.01},
    {"params": [p for n, p in parameters.items() if not decayed(n)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=learning_rate)
steps = epochs * math.ceil(len(examples["train"]) / 32)
schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.1 * steps), steps)
best_score, best_weights = -1.0, None
for epoch in range(epochs):
    model.train()
    for rows in shuffled(examples["train"]):
        batch = collate([examples["train"][i] for i in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    dev = score("dev")
    print(f"epoch {epoch + 1}: dev {100 * dev:.2f}", file=sys.stderr, flush=True)
    if dev > best_score:
        best_score, best_weights = dev, copy.deepcopy(model.state_dict())
model.load_state_dict(best_weights)
print(100 * score("test"))
