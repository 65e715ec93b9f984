"""Exports a Hugging Face folder to a peer's form:

    python bench/peers/export.py CHECKPOINT OUTPUT onnx
    python bench/peers/export.py CHECKPOINT OUTPUT openvino TEXTS.json

`onnx` makes OUTPUT a folder of transformers.js: tokenizer, configuration, onnx/model.onnx (float32) and
onnx/model_quantized.onnx (onnxruntime.quantization.quantize_dynamic of it). Running onnxruntime.transformers.optimizer
first makes the int8 model slower on a CPU (70 instead of 82 sequences/s of 128 tokens on the machine it was tried on), so the
benchmarks leave that out. `openvino` writes OUTPUT/float32.xml and OUTPUT/int8.xml: static int8 by NNCF, calibrated on the texts.
"""
import json
import logging
import pathlib
import shutil
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def load(checkpoint, attention):
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    is_token = "Token" in AutoConfig.from_pretrained(checkpoint).architectures[0]
    kind = AutoModelForTokenClassification if is_token else AutoModelForSequenceClassification
    return kind.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation=attention).eval()


def example_inputs():
    import torch

    ids = torch.ones(2, 16, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": ids, "token_type_ids": torch.zeros_like(ids)}


def export_onnx(checkpoint, output):
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for path in pathlib.Path(checkpoint).glob("*.json"):
        shutil.copy(path, output)
    output = output / "onnx"
    output.mkdir()
    inputs = example_inputs()
    torch.onnx.export(
        load(checkpoint, "eager"),
        tuple(inputs.values()),
        str(output / "model.onnx"),
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in inputs},
        dynamo=False,
        opset_version=17,
    )
    quantize_dynamic(str(output / "model.onnx"), str(output / "model_quantized.onnx"), weight_type=QuantType.QInt8)


def export_openvino(checkpoint, output, texts):
    import nncf
    import numpy as np
    import openvino as ov
    from tokenizers import Tokenizer

    model = ov.convert_model(load(checkpoint, "sdpa"), example_input=example_inputs())
    model.reshape({port: ov.PartialShape([-1, -1]) for port in model.inputs})
    ov.save_model(model, str(output / "float32.xml"), compress_to_fp16=False)
    tokenizer = Tokenizer.from_file(checkpoint + "/tokenizer.json")
    tokenizer.enable_truncation(128)

    def inputs_of(text):
        ids = np.array([tokenizer.encode(text).ids])
        return {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}

    quantized = nncf.quantize(
        model,
        nncf.Dataset(texts, inputs_of),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(texts),
    )
    ov.save_model(quantized, str(output / "int8.xml"))


if __name__ == "__main__":
    checkpoint, output, form = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    output.mkdir(parents=True, exist_ok=True)
    if form == "onnx":
        export_onnx(checkpoint, output)
    else:
        export_openvino(checkpoint, output, json.loads(pathlib.Path(sys.argv[4]).read_text(encoding="utf8")))
