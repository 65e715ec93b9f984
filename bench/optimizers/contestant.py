"""PyTorch's side of bench/optimizers.ts: `contestant.py WORK.json FORM THREADS`; a turn is as many updates as fill 0.3 s."""

import json
import sys
import time

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

LEAST_SECONDS = 0.3
work = json.load(open(sys.argv[1]))
form, threads = sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
parameters = [torch.nn.Parameter(0.02 * torch.randn(shape)) for shape in work["shapes"]]
for parameter in parameters:
    parameter.grad = 1e-3 * torch.randn(parameter.shape)


class Lion:
    """Chen et al. 2023, program 1, which torch.optim does not have."""

    def __init__(self, lr, betas, weight_decay):
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.momenta = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self):
        gradients = [parameter.grad for parameter in parameters]
        directions = torch._foreach_lerp(self.momenta, gradients, 1 - self.betas[0])
        torch._foreach_sign_(directions)
        torch._foreach_mul_(parameters, 1 - self.lr * self.weight_decay)
        torch._foreach_add_(parameters, directions, alpha=-self.lr)
        torch._foreach_lerp_(self.momenta, gradients, 1 - self.betas[1])


def once_of(kind):
    options = {"lr": 1e-5, "weight_decay": 0.01}
    if kind == "lion":
        return Lion(betas=(0.9, 0.99), **options).step
    if kind == "ema":
        module = torch.nn.ParameterList(parameters)
        average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.999))
        return lambda: average.update_parameters(module)
    if kind == "clip-by-value":
        return lambda: torch.nn.utils.clip_grad_value_(parameters, 1e-3, foreach=True)
    options[form] = True
    if kind == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **options).step
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "adafactor": torch.optim.Adafactor}
    return kinds[kind](parameters, **options).step


def turn():
    started, units, seconds = time.perf_counter(), 0, 0.0
    while seconds < LEAST_SECONDS:
        once()
        units += 1
        seconds = time.perf_counter() - started
    return {"units": units, "seconds": seconds}


once = once_of(work["kind"])
turn()
print("ready", flush=True)
for _ in sys.stdin:
    print(json.dumps(turn()), flush=True)
