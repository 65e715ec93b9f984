"""From what the parts of bench/gpu/run.py have written to one result, and its table."""

HEADLINES = ["BERT-large, lengths like SQuAD's", "BERT-base, 128 tokens"]


def make_result(gpu, rehearsal, date, commit, parts, measures_only, bench, pytorch, texts):
    """The contents of bench/results/gpu.json. `failures` holds what concerns correctness, `incomplete` whatever else is missing."""
    failures = list(bench.get("failures", []))
    incomplete = [f"{name}: left out, no time" for name in bench.get("leftOut", [])]
    for part in parts:
        if part["status"] == "passed":
            continue
        line = f"{part['name']}: {part['status']} {part['detail']}".rstrip()
        wrong = part["status"] == "failed" or (part["status"] == "timed out" and not part["name"].startswith("sanitizer"))
        measures = any(part["name"].startswith(word) for word in measures_only)
        (failures if wrong and not measures else incomplete).append(line)
    incomplete += pytorch.get("failures", []) + texts.get("failures", [])
    ratios, mismatches = compare(bench.get("figures", []), pytorch.get("figures", []))
    # Tiny works differ on purpose.
    failures += [] if rehearsal else mismatches
    device = dict(bench.get("device", {}))
    if gpu:
        names = {"name": "name", "driver": "driver_version", "powerLimitWatts": "power.limit",
                 "mostSmClockMHz": "clocks.max.sm", "mostMemoryClockMHz": "clocks.max.memory"}
        device.update({name: gpu[field] for name, field in names.items() if field in gpu})
    return {
        "device": device,
        "date": date,
        "commit": commit,
        **({"rehearsal": True} if rehearsal else {}),
        **({"pytorch": pytorch["torch"]} if "torch" in pytorch else {}),
        "ceilings": bench.get("ceilings", {}),
        "ratiosToPyTorch": ratios,
        "failures": failures,
        "incomplete": incomplete,
        "parts": parts,
        "figures": bench.get("figures", []) + pytorch.get("figures", []) + texts.get("figures", []),
    }


def compare(figures, peers):
    """whittle's encoders beside PyTorch's over the same work, and works that turn out not to be the same."""
    ratios, mismatches = [], []
    for work in HEADLINES:
        theirs = {one["mode"]: one for one in peers if one["part"] == "pytorch" and one["work"] == work}
        model, lengths = work.split(", ", 1)
        ours = next((one for one in figures if one["work"] == f"{model} int8, {lengths}" and one["part"] == "encoders"), None)
        if not ours:
            continue
        row = {"work": work, "unit": ours["unit"], "whittle": ours["value"]}
        for kind, one in theirs.items():
            if one["tokens"] != ours["tokens"] or one["sequences"] != ours["sequences"]:
                mismatches.append(f"{work}: whittle has {ours['tokens']:.0f} tokens, PyTorch {one['tokens']}")
            row[f"pytorch {kind}"] = one["value"]
            row[f"ratio to {kind}"] = round(ours["value"] / one["value"], 3)
        ratios.append(row)
    return ratios, sorted(set(mismatches))


def print_summary(result):
    device = result["device"]
    print("\n" + "=" * 100)
    if result.get("rehearsal"):
        print("REHEARSAL without a GPU: no figure here means anything")
    print(f"{device.get('name', 'unknown GPU')}, driver {device.get('driver') or 'unknown'}, {result['date']}, commit {result['commit']}")
    for part in result["parts"]:
        print(f"  {part['name']:<40} {part['status']:<14} {part['seconds']:>6.1f} s {part['detail']}")
    ceilings = result["ceilings"]
    if ceilings:
        print(f"ceilings: copy {ceilings['copyBytes'] / 1e9:.0f} GB/s; int8 {ceilings['int8Measured'] / 1e12:.0f} TOP/s measured, "
              f"{ceilings['int8DataSheet'] / 1e12:.0f} by the data sheet")
    figures = result["figures"]
    for one in figures:
        if one["part"] == "products" and one["unit"] == "us":
            print(f"{one['work']:<90} {one['value']:>8.1f} us")
        elif one["part"] == "products" and one["work"].startswith("int8") and "16384 x 4096 x 1024" in one["work"]:
            print(f"{one['work']:<60} {one['value']:>8.1f} TOP/s {share(one, 'shareOfDataSheet')} of the data sheet, "
                  f"{share(one, 'shareOfMeasured')} of the measured ceiling")
    for one in figures:
        if one["part"] == "pytorch ceilings":
            print(f"{one['work']:<60} {one['value']:>8.1f} {one['unit']}")
    for one in figures:
        if one["part"] == "encoders":
            print(f"{one['work']:<60} {one['value']:>8.0f} {one['unit']}")
    for one in figures:
        if one["part"] == "agreement":
            print(f"{one['work']:<80} {one['value']:.0f} {one['unit']}")
    for one in result["ratiosToPyTorch"]:
        peers = ", ".join(
            f"{one['ratio to ' + kind]:.2f} x PyTorch {kind} ({one['pytorch ' + kind]:.0f})" for kind in ("compiled", "eager") if f"pytorch {kind}" in one
        )
        print(f"{one['work'] + ', int8':<60} {one['whittle']:>8.0f} {one['unit']}: {peers or 'no figure of PyTorch'}")
    for one in figures:
        if one["part"] == "texts":
            print(f"{one['work']:<60} {one['value']:>8.0f} texts/s, {100 * one['shareOfEngine']:.0f} % of the engine's {one['engine']:.0f}; "
                  f"without engine {one['withoutEngine']:.0f}")
    for line in result["incomplete"]:
        print(f"INCOMPLETE: {line}")
    for line in result["failures"]:
        print(f"FAILED: {line}")
    print("Correctness: " + ("FAILED" if result["failures"] else "nothing failed"))


def share(figure, name):
    return f"{100 * figure[name]:.1f} %" if name in figure else "unknown share"
