#!/usr/bin/env python3
"""Packs what a machine with a GPU but without Node and network needs beside this checkout, for bench/gpu/run.py.

    python3 bench/gpu/pack.py [--kit build/gpu-kit] [--shared ../shared]

Needs what `npm run setup` needs and has made here. The folder then holds, under 30 MB in all:
  fixtures/            batches and the CPU's results of models/minilm-l6 and two small models (scripts/cuda-fixture.ts), whose weights
                       stay where they are in the checkout
  node.xz              the Node that runs this, without symbols
  texts-main.mjs       bench/gpu/texts-main.ts and the library in one file
  node_modules/        headers that the addon is compiled with
  data/ag_news.jsonl   AG News' test texts, if --shared has them
  commit               which commit this was
"""
import argparse
import lzma
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = ["models/minilm-l6", "test/fixtures/tiny-bert", "test/fixtures/tiny-bert-tokens"]


def run(*command):
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pack_node(kit):
    """The node binary, which is one file on Linux."""
    node = run("node", "-p", "process.execPath")
    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "node")
        shutil.copyfile(node, small)
        if shutil.which("strip"):
            run("strip", small)
        print("+ compressing node, a minute", flush=True)
        with open(small, "rb") as source, lzma.open(os.path.join(kit, "node.xz"), "wb", preset=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kit", default=os.path.join(ROOT, "build", "gpu-kit"))
    parser.add_argument("--shared", default=os.path.join(ROOT, "..", "shared"))
    options = parser.parse_args()
    kit = os.path.abspath(options.kit)
    kept = os.path.join(kit, "node.xz")
    for entry in os.listdir(kit) if os.path.isdir(kit) else []:
        path = os.path.join(kit, entry)
        if path != kept:
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    os.makedirs(os.path.join(kit, "data"), exist_ok=True)

    for model in MODELS:
        folder = os.path.join(kit, "fixtures", os.path.basename(model))
        run("node", "--import", "tsx", "scripts/cuda-fixture.ts", model, folder, "--in-place")
    # esbuild comes with tsx.
    esbuild = os.path.join("node_modules", ".bin", "esbuild")
    bundle = os.path.join(kit, "texts-main.mjs")
    run(esbuild, "bench/gpu/texts-main.ts", "--bundle", "--platform=node", "--format=esm", "--target=node20", f"--outfile={bundle}", "--log-level=warning")
    headers = os.path.join(kit, "node_modules", "node-addon-api")
    os.makedirs(headers)
    for name in os.listdir(os.path.join(ROOT, "node_modules", "node-addon-api")):
        if name.endswith((".h", ".js", ".json")):
            shutil.copy(os.path.join(ROOT, "node_modules", "node-addon-api", name), headers)
    shutil.copytree(os.path.join(ROOT, "node_modules", "node-api-headers", "include"), os.path.join(kit, "node_modules", "node-api-headers", "include"))
    texts = os.path.join(options.shared, "data", "ag_news", "test.jsonl")
    if os.path.exists(texts):
        shutil.copy(texts, os.path.join(kit, "data", "ag_news.jsonl"))
    else:
        print(f"LEFT OUT: {texts} is missing, so there will be no texts/s")
    if not os.path.exists(kept):
        pack_node(kit)
    changed = run("git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results")
    with open(os.path.join(kit, "commit"), "w", encoding="utf8") as file:
        file.write(run("git", "rev-parse", "--short", "HEAD") + ("-dirty" if changed else "") + "\n")
    sizes = {entry: size_of(os.path.join(kit, entry)) for entry in sorted(os.listdir(kit))}
    for entry, size in sizes.items():
        print(f"{size / 1e6:8.2f} MB  {entry}")
    print(f"{sum(sizes.values()) / 1e6:8.2f} MB  {kit}")


def size_of(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


if __name__ == "__main__":
    sys.exit(main())
