"""Exports a Hugging Face folder to ONNX for the benchmarks' peers.

    python bench/peers/export_onnx.py CHECKPOINT OUTPUT

writes OUTPUT/model.onnx (float32) and OUTPUT/int8.onnx (onnxruntime.quantization.quantize_dynamic of it). Running
onnxruntime.transformers.optimizer first makes the int8 model slower on a CPU (70 instead of 82 sequences/s of 128
tokens on the machine it was tried on), so the benchmarks leave that out.
"""
import logging
import pathlib
import sys
import warnings

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
checkpoint, output = sys.argv[1], pathlib.Path(sys.argv[2])
output.mkdir(parents=True, exist_ok=True)
config = AutoConfig.from_pretrained(checkpoint)
kind = AutoModelForTokenClassification if "Token" in config.architectures[0] else AutoModelForSequenceClassification
model = kind.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
ids = torch.ones(2, 16, dtype=torch.long)
names = ["input_ids", "attention_mask", "token_type_ids"]
torch.onnx.export(
    model,
    (ids, ids, torch.zeros_like(ids)),
    str(output / "model.onnx"),
    input_names=names,
    output_names=["logits"],
    dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
    dynamo=False,
    opset_version=17,
)
quantize_dynamic(str(output / "model.onnx"), str(output / "int8.onnx"), weight_type=QuantType.QInt8)
