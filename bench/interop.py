"""Loads what whittle wrote in Transformers with compressed-tensors, and compares with what whittle computed.

    python bench/interop.py CASES.json

CASES.json is made by `npm run bench -- interop`: for each model its name and folder, which output ("logits" or "hidden"),
and for each sequence its token ids, token types and whittle's values. Prints one JSON object a model: the smallest cosine
of a sequence's values, the largest difference, and for logits the share of equal predictions.
"""
import json
import logging
import sys
import warnings

import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)


def load(folder):
    architecture = AutoConfig.from_pretrained(folder).architectures[0]
    kind = AutoModel
    if "SequenceClassification" in architecture:
        kind = AutoModelForSequenceClassification
    if "TokenClassification" in architecture:
        kind = AutoModelForTokenClassification
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    odd = {key: sorted(value) for key, value in report.items() if value}
    assert not odd, f"{folder}: Transformers reports {odd}"
    return model.eval()


def compare(case):
    model = load(case["folder"])
    cosines, largest, equal, positions = [], 0.0, 0, 0
    with torch.no_grad():
        for ids, types, expected in zip(case["ids"], case["types"], case["values"]):
            typed = {"token_type_ids": torch.tensor([types])} if getattr(model.config, "type_vocab_size", 0) else {}
            output = model(torch.tensor([ids]), **typed)
            values = output.logits if case["output"] == "logits" else output.last_hidden_state
            values = values.reshape(-1, values.shape[-1]).double()
            expected = torch.tensor(expected).double().reshape(values.shape)
            cosines.append(torch.cosine_similarity(values.flatten(), expected.flatten(), dim=0).item())
            largest = max(largest, (values - expected).abs().max().item())
            equal += (values.argmax(-1) == expected.argmax(-1)).sum().item()
            positions += len(values)
    return {
        "name": case["name"],
        "output": case["output"],
        "sequences": len(cosines),
        "smallestCosine": min(cosines),
        "largestDifference": largest,
        "samePredictions": equal / positions if case["output"] == "logits" else None,
    }


for case in json.load(open(sys.argv[1])):
    print(json.dumps(compare(case)), flush=True)
