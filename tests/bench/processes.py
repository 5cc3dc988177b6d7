"""Servers under test: started on loopback, waited for, and measured by what /proc says of their whole process tree."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """A loopback port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """One server and the processes it consists of."""

    name: str
    port: int
    command: list
    folder: Path
    env: dict = field(default_factory=dict)
    process: subprocess.Popen = None

    def start(self, wait_s=60):
        """Starts it and waits until its port takes connections."""
        log = open(self.folder / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(self.command, env=os.environ | self.env, cwd=self.folder, stdout=log,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        tail = (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"bench: {self.name} did not start on port {self.port}:\n{tail}")

    def stop(self):
        """Ends it and everything it started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def cpu_s(self):
        """Processor time its processes have used, seconds."""
        return sum(_cpu_s(pid) for pid in tree(self.process.pid))

    def threads_cpu_s(self, names):
        """The part of it that its threads of these names have used, seconds."""
        return sum(_thread_cpu_s(task, names) for pid in tree(self.process.pid) for task in Path(f"/proc/{pid}/task").glob("*"))

    def peak_mb(self):
        """The sum of its processes' largest resident sets, MB."""
        return sum(_status_kb(pid, "VmHWM") for pid in tree(self.process.pid)) / 1024


def tree(pid):
    """A process and everything below it."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += tree(int(child))
    except OSError:
        pass
    return found


def _cpu_s(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _thread_cpu_s(task, names):
    try:
        if (task / "comm").read_text().strip() not in names:
            return 0.0
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def resident_kb(pid):
    """What a process has in memory now, KiB."""
    return _status_kb(pid, "VmRSS")


def _status_kb(pid, field):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
