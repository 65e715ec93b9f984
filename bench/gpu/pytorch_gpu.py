"""PyTorch in float16 on a GPU, over the work of `whittle_cuda_bench --parts encoders`: sequences/s, ids in and logits out.

    python3 bench/gpu/pytorch_gpu.py [--json FILE] [--part-seconds 75] [--works WORD,...] [--device cuda] [--tiny]

The model is BERT with random weights in plain PyTorch: query, key and value as one product, scaled_dot_product_attention, GELU
in its erf form; `--verify` holds it against Transformers'. It runs compiled (torch.compile, dynamic shapes where lengths
differ) and eager. Batches are sorted by length and padded to their longest, rounded up to 8; where all lengths are equal
there is no mask, so that attention takes its fastest path. Of a few batch sizes the fastest counts. Padding, sorting and the
first two passes are outside the time; copies of ids and logits are in it. Each part runs in a process of its own with a time
limit, and keeps what it has measured when the time is up. `--prepare` only compiles, so that a later run finds the kernels in Inductor's
cache. Prints one JSON object last.
"""
import argparse
import ctypes
import json
import math
import os
import select
import signal
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SHAPES = {  # layers, hidden, heads, intermediate
    "BERT-base": (12, 768, 12, 3072),
    "BERT-large": (24, 1024, 16, 4096),
}
VOCABULARY, POSITIONS, LABELS = 30522, 512, 2
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def squad_lengths(sequences):
    """Those of native/bench/cuda/report.cc and harness/work.ts."""
    def quantile(index):
        p = (index + 0.5) / sequences
        return min(384, math.floor(168 * math.exp(0.38 * math.log(p / (1 - p)) / 1.702) + 0.5))

    return [quantile(index * 29 % sequences) for index in range(sequences)]


WORKS = {  # name: shape, lengths, batch sizes
    "BERT-large, lengths like SQuAD's": ("BERT-large", squad_lengths(2000), (32, 64, 128, 256)),
    "BERT-base, 128 tokens": ("BERT-base", [128] * 4096, (64, 128, 256)),
}
TINY_WORKS = {
    "BERT-large, lengths like SQuAD's": ((2, 64, 4, 128), [3, 17, 9, 30, 5], (2, 4)),
    "BERT-base, 128 tokens": ((2, 64, 4, 128), [16] * 6, (2, 3)),
}


class Layer(nn.Module):
    def __init__(self, hidden, heads, intermediate):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.attention_output = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps=1e-12)
        self.intermediate = nn.Linear(hidden, intermediate)
        self.output = nn.Linear(intermediate, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x, mask):
        batch, length, hidden = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(batch, length, hidden)
        x = self.attention_norm(x + self.attention_output(attended))
        return self.output_norm(x + self.output(F.gelu(self.intermediate(x))))


class Bert(nn.Module):
    """Token ids [batch, length] and a mask [batch, length], true for tokens, or none, to logits [batch, labels]."""

    def __init__(self, layers, hidden, heads, intermediate):
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, hidden)
        self.position = nn.Embedding(POSITIONS, hidden)
        self.token_type = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.layers = nn.ModuleList(Layer(hidden, heads, intermediate) for _ in range(layers))
        self.pooler = nn.Linear(hidden, hidden)
        self.classifier = nn.Linear(hidden, LABELS)

    def forward(self, ids, mask=None):
        x = self.word(ids) + self.position.weight[: ids.shape[1]] + self.token_type.weight[0]
        x = self.norm(x)
        if mask is not None:
            # Added to the scores: of a boolean mask, every layer would make one as large as its scores.
            mask = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, -math.inf)[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))


def make_model(shape, device):
    torch.manual_seed(1)
    with torch.device(device):
        model = Bert(*SHAPES.get(shape, shape)).eval().half()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    return model


def make_batches(lengths, size, device):
    """`(ids, mask or None)` on the host, sorted by length, and how many tokens they have with their padding."""
    lengths = sorted(lengths)
    same = lengths[0] == lengths[-1]
    generator = torch.Generator().manual_seed(2)
    batches, padded = [], 0
    for start in range(0, len(lengths), size):
        some = torch.tensor(lengths[start : start + size])
        longest = (int(some.max()) + 7) // 8 * 8
        ids = torch.randint(1000, VOCABULARY, (len(some), longest), generator=generator, dtype=torch.int32)
        # One form for all batches, so that the model is compiled once.
        mask = None if same else torch.arange(longest)[None, :] < some[:, None]
        padded += ids.numel()
        tensors = [ids, mask]
        if device == "cuda":
            tensors = [None if one is None else one.pin_memory() for one in tensors]
        batches.append(tensors)
    return batches, padded


def once(forward, batches, device):
    results = []
    with torch.inference_mode():
        for ids, mask in batches:
            ids = ids.to(device, non_blocking=True)
            mask = None if mask is None else mask.to(device, non_blocking=True)
            results.append(forward(ids, mask))
        return torch.cat(results).float().cpu()


def seconds_of(work, device):
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(name, work, mode, device, tell, prepare):
    shape, lengths, sizes = work
    model = make_model(shape, device)
    same = len(set(lengths)) == 1
    forward = torch.compile(model, dynamic=not same) if mode == "compiled" else model
    best = None
    for size in sizes:
        batches, padded = make_batches(lengths, size, device)
        first = seconds_of(lambda: once(forward, batches[:2] + batches[-2:], device), device)
        if prepare:
            continue
        run = lambda: once(forward, batches, device)
        logits = run()
        if not bool(torch.isfinite(logits).all()):
            raise RuntimeError("a logit is not finite")
        run()
        seconds = [seconds_of(run, device) for _ in range(3)]
        figure = {"batch": size, "paddedTokens": padded, "firstBatchesSeconds": round(first, 2)}
        if best is None or statistics.median(seconds) < best[0]:
            best = (statistics.median(seconds), run, figure)
            tell(figure_of(name, mode, lengths, best[0], figure))
    if not prepare:
        seconds = statistics.median(seconds_of(best[1], device) for _ in range(9))
        tell(figure_of(name, mode, lengths, seconds, best[2]))


def figure_of(name, mode, lengths, seconds, more):
    return {
        "part": "pytorch",
        "work": name,
        "mode": mode,
        "unit": "sequences/s",
        "value": float(f"{len(lengths) / seconds:.6g}"),
        "sequences": len(lengths),
        "tokens": sum(lengths),
        **more,
    }


def measure_ceilings(device, tell, tiny):
    """Matrix products by PyTorch's libraries (cuBLAS), operations/s: what others reach on this GPU."""
    for rows, columns, inner in ((64, 64, 64),) if tiny else ((8192, 8192, 8192), (16384, 4096, 1024)):
        for kind in ("int8", "float16"):
            if kind == "int8":
                a = torch.randint(-128, 127, (rows, inner), dtype=torch.int8, device=device)
                b = torch.randint(-128, 127, (columns, inner), dtype=torch.int8, device=device).t()
                product = lambda: torch._int_mm(a, b)
            else:
                a = torch.randn(rows, inner, dtype=torch.float16, device=device)
                b = torch.randn(columns, inner, dtype=torch.float16, device=device).t()
                product = lambda: a @ b
            calls = 2 if tiny else 20
            repeated = lambda: [product() for _ in range(calls)]
            # Clocks come up first.
            warm = 0
            while warm < 0.2:
                warm += seconds_of(repeated, device)
            seconds = statistics.median(seconds_of(repeated, device) for _ in range(9)) / calls
            rate = 2 * rows * columns * inner / seconds
            out = "int32" if kind == "int8" else "float16"
            work = f"PyTorch's {kind} product, {out} out {rows} x {columns} x {inner}"
            tell({"part": "pytorch ceilings", "work": work, "unit": "TOP/s", "value": float(f"{rate / 1e12:.6g}")})


def run_part(name, part, limit):
    """What `part(tell)` tells, from a process of its own that is ended after `limit` seconds; and what went wrong, if anything did.

    The processes are forked before anything touches the GPU, so that imports are paid once."""
    receive, send = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        # Whoever ends the parent ends this too: nothing must stay on the GPU.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(receive)
        status = 1
        try:
            part(lambda figure: os.write(send, (json.dumps(figure) + "\n").encode()))
            status = 0
        except BaseException as error:  # an exception must not run the parent's code in the child
            os.write(send, (json.dumps({"failure": f"{type(error).__name__}: {error}"[:2000]}) + "\n").encode())
        finally:
            os._exit(status)
    os.close(send)
    text, deadline = b"", time.monotonic() + limit
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([receive], [], [], left)[0]:
            problem = f"{name}: stopped after {limit:.0f} s"
            break
        some = os.read(receive, 1 << 16)
        if not some:
            problem = None
            break
        text += some
    os.close(receive)
    # Compiling starts processes of its own.
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = os.waitpid(child, 0)[1]
    told = [json.loads(line) for line in text.decode().splitlines()]
    failures = [f"{name}: {one['failure']}" for one in told if "failure" in one]
    if problem is None and status != 0 and not failures and not os.WIFSIGNALED(status):
        failures = [f"{name}: ended with status {status}"]
    return [one for one in told if "failure" not in one], failures + ([problem] if problem else [])


def verify():
    """The largest difference of logits to Transformers' BERT with the same weights, on the CPU in float32."""
    from transformers import BertConfig, BertForSequenceClassification

    layers, hidden, heads, intermediate = 2, 64, 4, 128
    theirs = BertForSequenceClassification(
        BertConfig(num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads,
                   intermediate_size=intermediate, vocab_size=VOCABULARY)
    ).eval()
    ours = Bert(layers, hidden, heads, intermediate).eval()
    bert = theirs.bert
    pairs = [
        (ours.word, bert.embeddings.word_embeddings),
        (ours.position, bert.embeddings.position_embeddings),
        (ours.token_type, bert.embeddings.token_type_embeddings),
        (ours.norm, bert.embeddings.LayerNorm),
        (ours.pooler, bert.pooler.dense),
        (ours.classifier, theirs.classifier),
    ]
    for our, their in zip(ours.layers, bert.encoder.layer):
        attention = their.attention
        parts = (attention.self.query, attention.self.key, attention.self.value)
        our.qkv.weight.data = torch.cat([part.weight.data for part in parts])
        our.qkv.bias.data = torch.cat([part.bias.data for part in parts])
        pairs += [
            (our.attention_output, attention.output.dense),
            (our.attention_norm, attention.output.LayerNorm),
            (our.intermediate, their.intermediate.dense),
            (our.output, their.output.dense),
            (our.output_norm, their.output.LayerNorm),
        ]
    for our, their in pairs:
        our.load_state_dict(their.state_dict())
    ids = torch.randint(1000, VOCABULARY, (3, 24))
    mask = torch.arange(24)[None, :] < torch.tensor([24, 7, 15])[:, None]
    with torch.inference_mode():
        difference = (ours(ids, mask) - theirs(input_ids=ids, attention_mask=mask.long()).logits).abs().max().item()
    print(f"largest difference of logits to Transformers': {difference:.2e}")
    return difference < 1e-5


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--works", default="", help="words, with commas; works whose name holds one of them run")
    parser.add_argument("--part-seconds", type=float, default=75)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--verify", action="store_true")
    options = parser.parse_args()
    if options.verify:
        sys.exit(0 if verify() else 1)

    words = [word for word in options.works.split(",") if word]
    works = TINY_WORKS if options.tiny else WORKS
    parts = {}
    if not options.prepare:
        parts["ceilings"] = lambda tell: measure_ceilings(options.device, tell, options.tiny)
    for mode in ["compiled"] if options.prepare else ["compiled", "eager"]:
        for name, work in works.items():
            parts[f"{name}, {mode}"] = lambda tell, work=work, name=name, mode=mode: measure(
                name, work, mode, options.device, tell, options.prepare
            )
    result = {"torch": torch.__version__, "figures": [], "failures": []}
    for name, part in parts.items():
        if words and not any(word in name for word in words):
            continue
        started = time.monotonic()
        told, problems = run_part(name, part, options.part_seconds)
        # The last figure of a work is the one that counts.
        final = {one["work"]: one for one in told}.values()
        for one in final:
            print(f"{one['work']} {one.get('mode', '')}: {one['value']} {one['unit']}", flush=True)
        result["figures"] += final
        result["failures"] += problems
        print(f"{name}: {time.monotonic() - started:.1f} s {'; '.join(problems)}", flush=True)
        # After each part: whoever runs out of time has those that were measured.
        if options.json:
            with open(options.json, "w", encoding="utf8") as file:
                json.dump(result, file, indent=2)
    print(json.dumps(result))
    sys.exit(1 if result["failures"] and not result["figures"] and not options.prepare else 0)


if __name__ == "__main__":
    main()
