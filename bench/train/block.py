"""PyTorch's side of whittle_training_bench: `block.py THREADS [--cpu-time] [SEQUENCESxLENGTH...]`.

Six BERT layers of MiniLM-L6 (hidden 384, 12 heads, intermediate 1536), dropout 0.1, forward and backward, in float32
and with torch.autocast for bfloat16. Prints one JSON object a line, as whittle_training_bench does; --cpu-time counts
the CPU time of the process (use it with one thread) and takes the best turn.
"""

import json
import statistics
import sys
import time

import torch
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

words = sys.argv[1:]
cpu_time = "--cpu-time" in words
words = [word for word in words if word != "--cpu-time"]
torch.set_num_threads(int(words[0]))
clock = time.process_time if cpu_time else time.perf_counter
config = BertConfig(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, attn_implementation="sdpa"
)
encoder = BertEncoder(config).train()


def turn(x, precision):
    started = clock()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        y = encoder(x)[0]
    y.backward(y.detach())
    seconds = clock() - started
    encoder.zero_grad()
    return seconds


for shape in words[1:] or ["32x128", "32x14"]:
    sequences, length = map(int, shape.split("x"))
    for precision in ["float32", "bfloat16"]:
        x = torch.randn(sequences, length, 384, requires_grad=True)
        turn(x, precision)
        times, started = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - started < 4:
            times.append(turn(x, precision))
        seconds = min(times) if cpu_time else statistics.median(times)
        work = f"{shape} {precision} 6 layers forward and backward, PyTorch {torch.__version__}"
        print(
            json.dumps(
                {
                    "work": work,
                    "milliseconds": round(seconds * 1e3, 3),
                    "tokensPerSecond": round(sequences * length / seconds),
                }
            ),
            flush=True,
        )
