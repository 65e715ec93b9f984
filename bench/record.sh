#!/bin/sh
# The record of a commit: `bench/record.sh [models|texts|rest|large|train|all]` writes bench/results/*.json. Parts take minutes each, so that
# a machine can be given up between them; the peers' forms and choices are made first and kept (bench/README.md).
cd "$(dirname "$0")/.." || exit 1

bench() {
  npm run -s bench -- "$@" --add --json "bench/results/$1.json" || echo "FAILED: $*"
}

part=${1:-all}
if [ "$part" = models ] || [ "$part" = all ]; then
  bench infer BERT-base 32x128 1x128 1x16 8x512 "peers=OpenVINO int8" "peers=ONNX Runtime"
  bench infer MiniLM-L6 32x128 1x128 1x16 "peers=OpenVINO int8" "peers=ONNX Runtime" "peers=onnxruntime-node int8"
fi
if [ "$part" = texts ] || [ "$part" = all ]; then
  bench texts
  bench entities
fi
if [ "$part" = rest ] || [ "$part" = all ]; then
  bench accuracy
  bench memory
  bench responsive
  bench latency "peers=OpenVINO int8" "peers=onnxruntime-node int8"
  bench kernels "int8 m="
fi
if [ "$part" = large ] || [ "$part" = all ]; then
  bench infer BERT-large "peers=none"
  bench infer MiniLM-L12 32x128 1x16 "peers=OpenVINO int8"
fi
if [ "$part" = train ] || [ "$part" = all ]; then
  bench train
  bench optimizers
fi
