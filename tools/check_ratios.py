#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails where a speed ratio has fallen by more than a third of what tools/ratios.json says.

Ratios only, never times: each compares two things that this machine did in the same run (routed against base, together
against one after another, work done against the measured peak), in float32. A ratio that fails is measured twice more
first, because other work on the machine can fall on one side of it. References are kept per instruction set, for faster
GEMMs leave other ratios; where there are none for this machine's, what is measured is printed and nothing fails.

usage: check_ratios.py QUIVER [--model smollm2] [--write]
"""
import argparse
import json
import pathlib
import subprocess
import sys

CASES = {  # name: (arguments of `quiver bench`, key of the figure, True where more is better)
    "arrow over 8 experts": (["arrow", "--experts", "8", "--length", "256"], "ratio", False),
    "arrow over 32 experts": (["arrow", "--experts", "32", "--length", "256"], "ratio", False),
    "8 rows of 8 experts": (["mixed", "--experts", "8", "--length", "256"], "ratio", False),
    "decoding under arrow": (["decode-arrow", "--experts", "8", "--length", "32", "--new", "16"], "ratio", False),
    "4 experts together": (["together", "--experts", "4", "--batch", "1", "--length", "48"], "ratio", True),
    "prefill of the GEMM peak": (["prefill", "--length", "256"], "share_of_gemm_peak", True),
}


def measure(binary, model, arguments, key):
    command = [binary, "bench", *arguments, "--model", model, "--dtype", "float32", "--runs", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)[key]


def fell(value, reference, more_is_better):
    return value < reference * 2 / 3 if more_is_better else value > reference * 3 / 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--write", action="store_true", help="make what is measured the reference")
    options = parser.parse_args()
    file = pathlib.Path(__file__).with_name("ratios.json")
    info = subprocess.run([options.binary, "info", "--json"], capture_output=True, text=True, check=True)
    isa = json.loads(info.stdout)["kernels"]
    every = json.loads(file.read_text()) if file.exists() else {}
    references = {} if options.write else every.get(isa, {})
    failed = []
    for name, (arguments, key, more_is_better) in CASES.items():
        value = measure(options.binary, options.model, arguments, key)
        if not options.write and name not in references:
            print(f"{name:28} {value:7.3f}   no reference for {isa}: --write makes this one", flush=True)
            continue
        for _ in range(2):
            if options.write or not fell(value, references[name], more_is_better):
                break
            again = measure(options.binary, options.model, arguments, key)
            value = max(value, again) if more_is_better else min(value, again)
        if options.write:
            references[name] = round(value, 3)
        elif fell(value, references[name], more_is_better):
            failed.append(name)
        print(f"{name:28} {value:7.3f}   reference {references[name]:.3f}", flush=True)
    if options.write:
        file.write_text(json.dumps(every | {isa: references}, indent=2) + "\n")
    if failed:
        sys.exit("fell by more than a third: " + ", ".join(failed))


if __name__ == "__main__":
    main()
