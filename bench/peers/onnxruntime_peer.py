"""ONNX Runtime with the Rust tokenizer as a contestant: `onnxruntime_peer.py MODEL.onnx WORK.json`."""
import sys
from concurrent.futures import ThreadPoolExecutor

import onnxruntime as ort
from contestant import THREADS, Work, compete

work = Work(sys.argv[2])


def prepare(batch_size, streams):
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS // streams
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    workers = ThreadPoolExecutor(streams) if streams > 1 else None

    def one(batch):
        ids, mask = batch
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        return session.run(None, inputs)[0]

    return lambda batches: list((workers.map if workers else map)(one, batches))


compete(work, f"ONNX Runtime {ort.__version__}", {"streams": [1, 2] if work.count > 1 else [1]}, prepare)
