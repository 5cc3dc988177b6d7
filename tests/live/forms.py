#!/usr/bin/env python3
"""How many of a local engine's answers keep their form: strict JSON schemas and forced calls; `make forms` runs it.

The official SDK asks `tollgate engine`, answers are drawn at its usual temperature, and each is checked by a validator
that is not the engine's. Prints a line a model; the exit code is 1 if any share is below what is wanted.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WANTED = {"qwen-coder-1.5b": 1.0, "qwen-0.5b-moe": 0.98}


def started(tollgate, model, threads):
    """An engine and its address, once it is ready."""
    command = [tollgate, "engine", "--model", model, "--listen", "127.0.0.1:0", "--context", "1024", "--parallel", "8", "--log", "json"]
    command += ["--threads", threads] if threads else []
    engine = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in engine.stderr:
        if found := re.search(r'"ready","address":"([^"]+)"', line):
            return engine, found[1]
    sys.exit(f"the engine for {model} did not start")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tollgate", required=True)
    parser.add_argument("--tries", type=int, default=100, help="of each kind")
    parser.add_argument("--model", action="append", help="instead of the two of the demo")
    parser.add_argument("--threads", help="of the engine; fewer than cores where others compute too")
    parser.add_argument("--kind", action="append", default=[], choices=["schemas", "calls"], help="instead of both")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from clients import python_clients

    python, failed = python_clients("forms"), False
    for model in options.model or WANTED:
        engine, address = started(options.tollgate, model, options.threads)
        began = time.monotonic()
        try:
            script = [python, HERE / "clients" / "forms_openai.py", f"http://{address}/v1", model, str(options.tries),
                      str(WANTED.get(model, 0.0)), *options.kind]
            failed |= subprocess.run(script, env=os.environ).returncode != 0
        finally:
            engine.terminate()
            engine.wait()
        print(f"      {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
