#!/usr/bin/env python3
"""All that a GPU must show, in one command: builds for this machine's GPU, runs the tests on it, measures whittle and PyTorch, and
writes one JSON file. Needs CMake, nvcc, a C++20 compiler, ninja and Python; PyTorch for the peer; what bench/gpu/pack.py has packed
for the fixtures and for texts/s. bench/README.md says how long the parts take.

    python3 bench/gpu/run.py [--out runs/gpu] [--json bench/results/gpu.json] [--kit build/gpu-kit] [--work build/gpu]
                             [--seconds 500] [--parts build,tests,fixtures,bench,pytorch,texts,sanitizer] [--commit HASH]
    python3 bench/gpu/run.py --rehearse     # the same steps without a GPU: kernels compiled as C++, tiny sizes, no result

A part that fails or takes longer than its limit is named and the next one runs. The exit status is 1 if anything failed that
concerns correctness: build, tests, fixtures, the sanitizer, int8 that is not the CPU's. `--out` gets the log, each program's JSON,
and the result once more; `--work` is what need not be kept.
"""
import argparse
import datetime
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time

from summary import make_result, print_summary

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ["build", "tests", "fixtures", "bench", "pytorch", "texts", "sanitizer"]
# Seconds, at most; the whole has a limit too.
LIMITS = {"build": 200, "tests": 60, "fixtures": 40, "bench": 140, "pytorch": 190, "texts": 90, "sanitizer": 60}
SANITIZED = ["cuda_rows", "cuda_gemm", "cuda_attention", "cuda_attention_s8"]
REHEARSED = ["cuda_compress", "cuda_memory"]  # suites that take little time on kernels compiled as C++
MEASURES_ONLY = ["pytorch", "texts"]  # these can fail without whittle being wrong


class Runner:
    def __init__(self, options):
        self.options = options
        self.begin = time.monotonic()
        self.parts = []  # {"name", "status", "seconds", "detail"}
        self.log = open(os.path.join(options.out, "log.txt"), "w", encoding="utf8", errors="replace")
        self.environment = dict(os.environ)

    def left(self):
        return self.options.seconds - (time.monotonic() - self.begin)

    def note(self, name, status, seconds=0.0, detail=""):
        self.parts.append({"name": name, "status": status, "seconds": round(seconds, 1), "detail": detail})
        print(f"[{time.monotonic() - self.begin:5.0f} s] {name}: {status}, {seconds:.1f} s {detail}".rstrip(), flush=True)

    def start(self, command, environment=None):
        self.log.write(f"\n$ {' '.join(command)}\n")
        self.log.flush()
        return subprocess.Popen(
            command, cwd=ROOT, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**self.environment, **(environment or {})},
        )

    def run(self, name, command, limit, environment=None):
        """Whether the command ended well within `limit` seconds and what is left of the whole. Prints the end of what a failing one said."""
        limit = min(limit, self.left())
        if limit < 5:
            self.note(name, "left out", detail="no time left")
            return False
        from_byte = self.position()
        started = time.monotonic()
        try:
            process = self.start(command, environment)
        except OSError as error:
            self.note(name, "failed", detail=f"({error})")
            return False
        try:
            status = process.wait(limit)
            outcome = "passed" if status == 0 else "failed"
        except subprocess.TimeoutExpired:
            end_group(process)
            status, outcome = None, "timed out"
        said = self.said(from_byte)
        detail = "" if outcome == "passed" else f"(status {status})" if status is not None else f"(limit {limit:.0f} s)"
        if outcome == "failed" and "Device not supported" in said:
            outcome, detail = "not available", "(the sanitizer does not support this device)"
        self.note(name, outcome, time.monotonic() - started, detail)
        if outcome in ("failed", "timed out"):
            lines = said.splitlines()
            # What failed first tells more than what failed because of it.
            shown = lines if len(lines) <= 24 else lines[:12] + ["..."] + lines[-12:]
            print("\n".join("    " + line[:300] for line in shown), flush=True)
        return outcome == "passed"

    def position(self):
        self.log.flush()
        return os.path.getsize(self.log.name)

    def said(self, from_byte):
        with open(self.log.name, encoding="utf8", errors="replace") as file:
            file.seek(from_byte)
            return file.read()


def end_group(process):
    """Ends the process and all that it has started, which live in a session of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def ask_gpu():
    """What nvidia-smi says of the first GPU, or nothing. What not every driver tells may be missing."""

    def ask(*fields):
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        lines = said.stdout.strip().splitlines()
        return dict(zip(fields, map(str.strip, lines[0].split(",")))) if said.returncode == 0 and lines else {}

    if not shutil.which("nvidia-smi"):
        return None
    gpu = ask("name", "driver_version", "compute_cap")
    return {**gpu, **ask("power.limit", "clocks.max.sm", "clocks.max.memory")} if gpu else None


def unpack_node(kit, work):
    """The folder of a `node` that runs here: the kit's, else this machine's; or nothing."""
    packed = os.path.join(kit, "node.xz")
    if os.path.exists(packed):
        folder = os.path.join(work, "bin")
        os.makedirs(folder, exist_ok=True)
        node = os.path.join(folder, "node")
        if not os.path.exists(node):
            with lzma.open(packed) as source, open(node, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.chmod(node, 0o755)
        return folder
    return os.path.dirname(shutil.which("node")) if shutil.which("node") else None


def find_commit(options):
    if options.commit:
        return options.commit
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if said.returncode == 0:
        return said.stdout.strip()
    packed = os.path.join(options.kit, "commit")
    if os.path.exists(packed):
        with open(packed, encoding="utf8") as file:
            return file.read().strip() + " or later"
    return "unknown"


class GpuCheck:
    """The parts, in the order in which they run."""

    def __init__(self, options, gpu):
        self.options = options
        self.gpu = gpu
        self.runner = Runner(options)
        self.rehearse = options.rehearse
        self.build_folder = os.path.join(options.work, "rehearsal" if options.rehearse else "build")
        self.node_folder = unpack_node(options.kit, options.work)
        headers = os.path.join(options.kit, "node_modules")
        if not os.path.isdir(headers):
            headers = os.path.join(ROOT, "node_modules")
        self.headers = headers if os.path.isdir(os.path.join(headers, "node-addon-api")) else None
        self.texts = os.path.join(options.kit, "data", "ag_news.jsonl")
        self.texts_program = os.path.join(options.kit, "texts-main.mjs")
        path = os.environ["PATH"] if shutil.which("nvcc") else os.environ["PATH"] + os.pathsep + "/usr/local/cuda/bin"
        self.runner.environment["PATH"] = self.node_folder + os.pathsep + path if self.node_folder else path
        if self.headers:
            self.runner.environment["NODE_PATH"] = self.headers
        # PyTorch's compiled kernels are kept from `--prepare` to the measurement.
        self.runner.environment["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(options.work, "inductor")
        self.preparing = None
        self.failed_suites = []

    def wants(self, part):
        return part in self.options.parts

    def program(self, name):
        return os.path.join(self.build_folder, name)

    def json(self, name):
        return os.path.join(self.options.out, name + ".json")

    def run_all(self):
        if self.wants("pytorch"):
            self.preparing = self.runner.start(self.pytorch("--prepare", "--part-seconds", "100"))
        if self.wants("build"):
            self.build()
        if self.wants("tests"):
            self.test()
        if self.wants("fixtures"):
            self.check_fixtures()
        self.end_preparation()
        if self.wants("bench"):
            self.measure()
        if self.wants("pytorch"):
            self.runner.run("pytorch", self.pytorch("--part-seconds", "70", "--json", self.json("pytorch")), LIMITS["pytorch"])
        if self.wants("texts"):
            self.measure_texts()
        if self.wants("sanitizer"):
            self.sanitize()

    def pytorch(self, *more):
        small = ["--device", "cpu", "--tiny"] if self.rehearse else []
        return [self.options.python, "bench/gpu/pytorch_gpu.py", *small, *more]

    def end_preparation(self):
        """Nothing else may use the GPU while it is measured."""
        if not self.preparing:
            return
        started = time.monotonic()
        try:
            self.preparing.wait(max(1, min(40, self.runner.left())))
            status = "passed" if self.preparing.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            end_group(self.preparing)
            status = "stopped"
        self.runner.note("pytorch, compiled ahead", status, time.monotonic() - started, "(waited for)")

    def build(self):
        with_addon = self.node_folder and self.headers and self.wants("texts")
        flags = ["-DWHITTLE_ADDON=" + ("ON" if with_addon else "OFF")]
        if with_addon:
            flags.append(f"-DCMAKE_JS_INC={os.path.join(self.headers, 'node-api-headers', 'include')}")
        targets = ["whittle"] if with_addon else []
        if self.rehearse:
            targets += ["whittle_native_tests", "whittle_cuda_bench_shim"]
        else:
            capability = self.gpu["compute_cap"].replace(".", "")
            flags += ["-DWHITTLE_CUDA=ON", f"-DWHITTLE_CUDA_ARCHITECTURES={'90a' if capability == '90' else capability}-real"]
            targets += ["whittle_cuda_tests", "whittle_cuda_bench"]
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        configure = ["cmake", "-S", ".", "-B", self.build_folder, *generator, *flags]
        build = ["cmake", "--build", self.build_folder, "-j", str(os.cpu_count()), "--target", *targets]
        started = time.monotonic()
        if self.runner.run("configure", configure, 60):
            self.runner.run("build", build, LIMITS["build"] - (time.monotonic() - started))

    def test(self):
        """A process a suite: after a kernel's error a process gets nothing else from its GPU."""
        program = self.tests()
        listed = []
        if os.path.exists(program):
            listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True).stdout.split()
        suites = [one for one in listed if (one in REHEARSED if self.rehearse else one != "cuda_fixture")]
        if not suites:
            return self.runner.note("tests", "failed", detail=f"({program} is missing)")
        # That of the product with GELU first: its blocks wait for each other, and what follows would hang as its tests may have.
        first = [suite for suite in suites if suite == "cuda_gelu"]
        self.run_suites(first)
        if "cuda_gelu" in self.failed_suites:
            self.runner.environment["WHITTLE_BENCH_SEPARATE_GELU"] = "1"
            self.runner.note("product with GELU in one kernel", "left out", detail="(its tests did not pass; two kernels from here on)")
        self.run_suites([suite for suite in suites if suite not in first])

    def run_suites(self, suites):
        """Side by side: most of their time the CPU computes what is expected."""
        program, started = self.tests(), time.monotonic()
        limit = min(LIMITS["tests"], self.runner.left())
        running = []
        for suite in suites:
            said = open(os.path.join(self.options.work, f"tests-{suite}.txt"), "w+", encoding="utf8", errors="replace")
            process = subprocess.Popen(
                [program, suite], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True, env=self.runner.environment
            )
            running.append((suite, process, said))
        try:
            for suite, process, said in running:
                try:
                    status = process.wait(max(1, limit - (time.monotonic() - started)))
                    outcome = "passed" if status == 0 else "failed"
                except subprocess.TimeoutExpired:
                    end_group(process)
                    outcome = "timed out"
                self.end_suite(suite, outcome, time.monotonic() - started, process.returncode, said)
        finally:
            for _, process, said in running:
                if process.poll() is None:
                    end_group(process)
                said.close()

    def end_suite(self, suite, outcome, seconds, status, said):
        self.runner.note(f"tests {suite}", outcome, seconds, "" if outcome == "passed" else f"(status {status})")
        said.seek(0)
        text = said.read()
        self.runner.log.write(f"\n$ {self.tests()} {suite}\n{text}")
        if outcome != "passed":
            self.failed_suites.append(suite)
            print("\n".join("    " + line[:300] for line in text.splitlines()[:24]), flush=True)

    def tests(self):
        return self.program("whittle_native_tests" if self.rehearse else "whittle_cuda_tests")

    def check_fixtures(self):
        """Whole models against the CPU's results."""
        folder = os.path.join(self.options.kit, "fixtures")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        if not names:
            return self.runner.note("fixtures", "left out", detail=f"({folder} is missing: bench/gpu/pack.py makes it)")
        program = self.tests()
        for name in names:
            environment = {"WHITTLE_CUDA_FIXTURE": os.path.join(folder, name)}
            self.runner.run(f"fixture {name}", [program, "cuda_fixture"], LIMITS["fixtures"], environment)

    def measure(self):
        program = self.program("whittle_cuda_bench_shim" if self.rehearse else "whittle_cuda_bench")
        limit = min(LIMITS["bench"], self.runner.left())
        quick = ["--quick"] if self.rehearse else []
        command = [program, *quick, "--json", self.json("bench"), "--budget", f"{max(10, limit - 30):.0f}"]
        self.runner.run("bench", command, limit)

    def measure_texts(self):
        addon = self.program("whittle.node")
        missing = [path for path in (addon, self.texts, self.texts_program) if not os.path.exists(path)]
        if not self.node_folder or missing:
            what = ", ".join(missing) or "Node"
            return self.runner.note("texts", "left out", detail=f"({what} is missing: bench/gpu/pack.py)")
        small = ["--device", "cpu", "--models", "MiniLM-L6", "--repeat", "1", "--most", "128", "--seconds", "0"] if self.rehearse else []
        command = ["node", self.texts_program, "--texts", self.texts, "--root", ROOT, *small, "--json", self.json("texts")]
        self.runner.run("texts", command, LIMITS["texts"], {"WHITTLE_BINARY": addon})

    def sanitize(self):
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if self.rehearse or not os.path.exists(sanitizer):
            return self.runner.note("sanitizer", "not available")
        for suite in self.failed_suites + [one for one in SANITIZED if one not in self.failed_suites]:
            command = [sanitizer, "--error-exitcode", "1", self.tests(), suite]
            self.runner.run(f"sanitizer {suite}", command, LIMITS["sanitizer"])


def read_json(path):
    try:
        with open(path, encoding="utf8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--out", default=os.path.join(ROOT, "runs", "gpu"))
    parser.add_argument("--kit", default=os.path.join(ROOT, "build", "gpu-kit"))
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "gpu"))
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--commit")
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"expected some of {', '.join(PARTS)} but found {', '.join(unknown)}")
    options.out, options.kit, options.work = map(os.path.abspath, (options.out, options.kit, options.work))
    os.makedirs(options.out, exist_ok=True)
    os.makedirs(options.work, exist_ok=True)
    for name in ("bench", "pytorch", "texts"):
        if os.path.exists(os.path.join(options.out, name + ".json")):
            os.remove(os.path.join(options.out, name + ".json"))
    gpu = None if options.rehearse else ask_gpu()
    if not gpu and not options.rehearse:
        sys.exit("Expected an NVIDIA GPU but nvidia-smi shows none; without one: --rehearse")

    check = GpuCheck(options, gpu)
    try:
        check.run_all()
    finally:
        if check.preparing and check.preparing.poll() is None:
            end_group(check.preparing)
    result = make_result(
        gpu=gpu,
        rehearsal=options.rehearse,
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=find_commit(options),
        parts=check.runner.parts,
        measures_only=MEASURES_ONLY,
        **{name: read_json(check.json(name)) for name in ("bench", "pytorch", "texts")},
    )
    # A rehearsal's figures mean nothing and must not be taken for results.
    kept = os.path.join(options.out, "rehearsal.json" if options.rehearse else "gpu.json")
    files = [kept] if options.rehearse else [kept, options.json or os.path.join(ROOT, "bench", "results", "gpu.json")]
    for path in files:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf8") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
    print_summary(result)
    print(f"Written to {', '.join(files)}; log in {check.runner.log.name}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
