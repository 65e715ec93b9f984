"""PyTorch's side of bench/train-parity.ts: `parity.py WORK.json FOLDER`.

Writes to FOLDER the gradients of the first batch as a checkpoint whose tensors are gradients, and losses.json: the
loss of every step of AdamW with linear warm-up (10 %) and decay, clipping at 1, no dropout, float32.
"""

import json
import math
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

work = json.load(open(sys.argv[1]))
folder = pathlib.Path(sys.argv[2])
folder.mkdir(parents=True)
torch.set_num_threads(1)
model = AutoModelForSequenceClassification.from_pretrained(work["model"], dtype=torch.float32)
model.eval()  # no dropout
decayed = lambda name: not (name.endswith(".bias") or "LayerNorm" in name)
parameters = dict(model.named_parameters())
optimizer = torch.optim.AdamW(
    [
        {"params": [p for n, p in parameters.items() if decayed(n)], "weight_decay": 0.01},
        {"params": [p for n, p in parameters.items() if not decayed(n)], "weight_decay": 0.0},
    ],
    lr=work["learningRate"],
)
steps = len(work["batches"])
schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.1 * steps), steps)
losses = []
for rows in work["batches"]:
    longest = max(len(r["inputIds"]) for r in rows)
    pad = lambda values: values + [0] * (longest - len(values))
    loss = model(
        input_ids=torch.tensor([pad(r["inputIds"]) for r in rows]),
        attention_mask=torch.tensor([pad([1] * len(r["inputIds"])) for r in rows]),
        labels=torch.tensor([r["label"] for r in rows]),
    ).loss
    loss.backward()
    if not losses:
        model.config.save_pretrained(folder)
        gradients = {n: p.grad.clone().contiguous() for n, p in parameters.items()}
        save_file(gradients, folder / "model.safetensors", {"format": "pt"})
    losses.append(loss.item())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
(folder / "losses.json").write_text(json.dumps({"losses": losses}))
