#!/usr/bin/env python3
"""Builds the fuzz targets and runs each for so long; `make fuzz-parsers` calls it. Ends with 1 where one found something.

A finding is a panic, a run of more than five seconds, or more than 1 GiB: its input is then under fuzz/artifacts/TARGET.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = ("template", "answer", "request")
STACK = 2 * 1024 * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--only", choices=TARGETS, action="append", help="this target alone; may be given again")
    arguments = parser.parse_args()
    # As the rest of the project is built, so that llama.cpp's objects are at hand.
    environment = os.environ | {"RUSTFLAGS": "-C target-cpu=native"}
    environment.pop("CARGO_TARGET_DIR", None)
    found = []
    for target in arguments.only or TARGETS:
        corpus = HERE / "corpus" / target
        corpus.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cargo", "fuzz", "build", "--sanitizer", "none", target], cwd=HERE, env=environment, check=True)
        run = subprocess.run(["cargo", "fuzz", "run", "--sanitizer", "none", target, corpus, HERE / "seeds" / target, "--",
                              f"-max_total_time={arguments.seconds}", "-timeout=5", "-report_slow_units=1", "-rss_limit_mb=1024",
                              "-max_len=4096", "-print_final_stats=1"], cwd=HERE, env=environment,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK)))
        found += [target] if run.returncode else []
    print(f"found something: {', '.join(found)}" if found else "nothing found")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
