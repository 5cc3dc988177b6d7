#!/usr/bin/env python3
"""Runs llama.cpp's own server tests, unchanged, against `tollgate engine`; `make llama-tests` calls it.

The tests come with the source package that `scripts/llama_server.sh` builds from. `llama-server` beside this file stands
in for the server they start. What is expected not to pass, and why, is in `expected.toml`, by name; whatever else does
not pass fails the run, and so does an expectation that does not hold any more.
"""

import argparse
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as xml
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import clients  # noqa: E402

PINNED = (HERE.parents[2] / "scripts/llama_server.sh").read_text()
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
PARTS = ("llama.cpp/tools/server/tests/", "llama.cpp/models/templates/")
# The first test also starts each of the models that the tests know, nine times.
LIMIT_S = 400


def pinned(name):
    """What the script that builds llama-server says: package and hash are written once."""
    return re.search(rf"^{name}='?([^'\n]+)'?$", PINNED, re.M)[1]


def sources():
    """The folder of the tests, fetched once; templates lie where the tests look for them."""
    package = pinned("package")

    def install(folder):
        with tempfile.TemporaryDirectory() as work:
            wanted = Path(work) / "requirements.txt"
            wanted.write_text(f"{package} --hash=sha256:{pinned('hash')}\n")
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                            "--no-binary", package.split("==")[0], "--require-hashes", "--dest", work, "--requirement", wanted],
                           check=True)
            with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
                kept = [member for member in archive if member.name.partition("/")[2].startswith(PARTS)]
                archive.extractall(work, members=kept, filter="data")
            unpacked = next(path for path in Path(work).iterdir() if (path / "llama.cpp").is_dir())
            shutil.copytree(unpacked / "llama.cpp", folder, dirs_exist_ok=True)

    return clients.installed("llama-tests", package + pinned("hash"), install) / "tools/server/tests"


def python():
    """The Python of an environment with what the tests import."""
    requirements = HERE / "requirements.txt"

    def install(folder):
        clients.venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "-r", requirements], check=True)

    return clients.installed("llama-tests-python", requirements.read_text(), install) / "bin/python"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def outcomes(report):
    """Every test's name, and why it did not pass; `None` where it did, empty where it was skipped."""
    for case in xml.parse(report).iter("testcase"):
        name = f"{case.get('classname').removeprefix('unit.')}::{case.get('name')}"
        trouble = next((child for child in case if child.tag in ("failure", "error")), None)
        if trouble is not None:
            yield name, " ".join(trouble.get("message", "").split())[:160] or trouble.tag
        else:
            yield name, "" if case.find("skipped") is not None else None


def reason_of(name, expected):
    """Why a test is expected not to pass: a name without parameters stands for all of them."""
    for reason, names in expected.items():
        if name in names or name.partition("[")[0] in names:
            return reason
    return None


def run_tests(arguments, files, report):
    """Runs pytest where the tests lie; its own lines go to the log."""
    tests = sources()
    environment = clients.clean_environment() | {
        "LLAMA_SERVER_BIN_PATH": str(HERE / "llama-server"), "TOLLGATE_BIN": str(arguments.tollgate.resolve()),
        "TOLLGATE_TESTS_MODEL": str(clients.CACHE.parent / MODEL), "PORT": str(free_port()), "TOLLGATE_LOG": "warn"}
    command = [python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--timeout={LIMIT_S}",
               f"--junitxml={report}", *(["-k", arguments.k] if arguments.k else []), *(f"unit/{file}.py" for file in files)]
    with open(arguments.log, "w") as log:
        return subprocess.run(command, cwd=tests, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode


def tell(results, expected, whole):
    """Prints the table and what is not as expected; whether anything is."""
    counts, wrong = collections.Counter(), []
    for name, trouble in results:
        reason = reason_of(name, expected)
        if trouble is None and reason:
            wrong.append(f"PASSED  {name}, which is listed under {reason!r}: take it off the list")
        elif trouble and not reason:
            wrong.append(f"FAILED  {name}: {trouble}")
        counts["passed" if trouble is None else reason or ("skipped by themselves" if trouble == "" else "failed")] += 1
    seen = {name for name, _ in results} | {name.partition("[")[0] for name, _ in results}
    if whole:
        wrong += [f"UNKNOWN {name}" for names in expected.values() for name in names if name not in seen]
    for reason, count in sorted(counts.items(), key=lambda item: (item[0] != "passed", -item[1])):
        print(f"{count:5}  {reason}")
    print("\n".join(wrong) if wrong else "all as expected")
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("-k", help="only tests that this expression picks, as pytest has it")
    parser.add_argument("--log", default=Path(tempfile.gettempdir()) / "tollgate-llama-tests.log", type=Path)
    arguments = parser.parse_args()
    wanted = tomllib.loads((HERE / "expected.toml").read_text())
    report = arguments.log.with_suffix(".xml")
    code = run_tests(arguments, wanted["files"], report)
    if code > 1:
        sys.exit(f"pytest ended with {code}; see {arguments.log}")
    fine = tell(list(outcomes(report)), wanted["expected"], not arguments.k)
    print(f"not run: {', '.join(f'{name} ({why})' for name, why in wanted['not_run'].items())}\nlog: {arguments.log}")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
