"""PyTorch in bf16 as a contestant: `pytorch_peer.py CHECKPOINT WORK.json`. Compiled and eager are tried at fixed lengths."""
import logging
import sys

import torch
from contestant import THREADS, Work, compete
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

logging.disable(logging.WARNING)
torch.set_num_threads(THREADS)
work = Work(sys.argv[2])
config = AutoConfig.from_pretrained(sys.argv[1])
kind = AutoModelForTokenClassification if "Token" in config.architectures[0] else AutoModelForSequenceClassification
model = kind.from_pretrained(sys.argv[1], dtype=torch.bfloat16, attn_implementation="sdpa").eval()


def prepare(batch_size, mode):
    forward = torch.compile(model, dynamic=False) if mode == "compiled" else model

    def one(batch):
        ids, mask = map(torch.from_numpy, batch)
        # Without padding no mask: attention then takes its fastest path.
        mask = None if bool(mask.all()) else mask
        return forward(input_ids=ids, attention_mask=mask).logits.float().numpy()

    def run(batches):
        with torch.inference_mode():
            return [one(batch) for batch in batches]

    return run


compete(work, f"PyTorch {torch.__version__}", {"mode": ["eager"]}, prepare)
