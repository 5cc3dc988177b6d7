"""One `tollgate engine` under a script: started on a socket of its own, asked several things at once, stopped.

Standard library only. Everything is greedy (temperature 0) with a fixed seed, so that a run can be repeated; what else
is in a batch can still change the last bits of a sum, and with them a word.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# The slowest machine this is for: a queue of eight long answers on one busy core.
PATIENCE_S = 1800


@dataclass
class Said:
    """One answer and what it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    ms: int
    cut: bool


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("engine", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """A running engine; use it in a `with`."""

    def __init__(self, tollgate, model, parallel, threads=None, context=2048):
        self.folder = tempfile.TemporaryDirectory(prefix="tollgate-engine-")
        self.socket = os.path.join(self.folder.name, "engine.sock")
        self.parallel = parallel
        command = [str(tollgate), "engine", "--model", model, "--listen", f"unix:{self.socket}",
                   "--parallel", str(parallel), "--context", str(context), "--queue", "256", "--exit-with-stdin"]
        command += ["--threads", str(threads)] if threads else []
        self.log = Path(self.folder.name) / "log"
        with open(self.log, "wb") as sink:
            # Its stdin is the lifeline: should this script be killed, the engine ends too.
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sink, stderr=sink)

    def __enter__(self):
        while not self.ready():
            if self.process.poll() is not None:
                sys.exit(f"the engine did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdin.close()
        self.folder.cleanup()

    def ready(self):
        try:
            connection = Connection(self.socket)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def post(self, body):
        """One greedy request, and the whole answer."""
        body = {"temperature": 0, "seed": 1, **body}
        connection = Connection(self.socket)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.load(response)
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {answer}")
        return answer

    def processor_s(self):
        """Processor time that the engine has had."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def usage(self, prompt, tokens):
        """What an answer of exactly so many tokens took, the prompt read afresh."""
        return self.post({"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "ignore_eos": True,
                          "cache_prompt": False})["usage"]

    def ask(self, prompt, max_tokens):
        """Asks one thing and waits for the whole answer."""
        began = time.monotonic()
        answer = self.post({"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens})
        choice, usage = answer["choices"][0], answer["usage"]
        return Said(choice["message"]["content"], usage["prompt_tokens"], usage["completion_tokens"],
                    round((time.monotonic() - began) * 1000), choice["finish_reason"] == "length")

    def ask_all(self, asks):
        """Asks `(prompt, max_tokens)` pairs, as many at once as the engine works on; answers in the same order."""
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(lambda ask: self.ask(*ask), asks))
