"""OpenVINO as a contestant: `openvino_peer.py MODEL.xml|MODEL.onnx WORK.json`."""
import sys

import openvino as ov
from contestant import THREADS, Work, compete

core = ov.Core()
work = Work(sys.argv[2])


def prepare(batch_size, streams, precision):
    model = core.read_model(sys.argv[1])
    if work.shape and work.count % batch_size == 0:
        model.reshape({port: [batch_size, work.shape[1]] for port in model.inputs})
    settings = {
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(model, "CPU", settings)
    queue = ov.AsyncInferQueue(compiled, streams)
    names = [port.get_any_name() for port in compiled.inputs]

    def run(batches):
        logits = [None] * len(batches)

        def keep(request, index):
            logits[index] = request.get_output_tensor().data.copy()

        queue.set_callback(keep)
        for index, (ids, mask) in enumerate(batches):
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            queue.start_async({name: inputs[name] for name in names}, index, share_inputs=True)
        queue.wait_all()
        return logits

    return run


compete(
    work,
    f"OpenVINO {ov.__version__.split('-')[0]}",
    {"streams": [1, 2] if work.count > 1 else [1], "precision": ["f32", "bf16"]},
    prepare,
)
