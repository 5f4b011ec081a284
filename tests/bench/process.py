"""Child processes of the benchmark, and what Linux tells about a process."""

import ctypes
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import time


class Failed(Exception):
    """A measurement that could not be taken, or that showed a wrong result."""


def _tied_to_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A program whose output is read line by line; ended with its whole process group."""

    def __init__(self, name, command, stderr=None, **more):
        self.name = name
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
            start_new_session=True, preexec_fn=_tied_to_parent, **more)
        self.buffer = b""

    @property
    def pid(self):
        return self.child.pid

    def has_line(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                return False
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise Failed(f"{self.name} ended with status {self.child.wait(5)}")
            self.buffer += more
        return True

    def line(self, timeout_s):
        if not self.has_line(timeout_s):
            raise Failed(f"{self.name} said nothing for {timeout_s} s")
        text, self.buffer = self.buffer.split(b"\n", 1)
        return text.decode(errors="replace")

    def expect(self, word, timeout_s=10):
        text = self.line(timeout_s)
        if not text.startswith(word):
            raise Failed(f'{self.name} said "{text}" instead of "{word}"')
        return text[len(word):].strip()

    def json(self, timeout_s):
        return json.loads(self.line(timeout_s))

    def say(self, text):
        self.child.stdin.write(text.encode())

    def running(self):
        return self.child.poll() is None

    def end(self, timeout_s=10):
        """Ends it, at first politely. Returns its exit status."""
        self.child.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.child.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                pass
        self.child.stdout.close()
        return self.child.returncode

    def members(self):
        """The processes of its group: one program, or a pipeline."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.getpgid(int(entry)) == self.pid:
                        found.append(int(entry))
                except ProcessLookupError:
                    pass
        return found


def until(check, timeout_s, what):
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout_s} s")
        time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Without connecting: some of those measured take one connection only."""
    pattern = re.compile(rf":{port:04X} \S+ 0A ")
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            if any(pattern.search(row) for row in file):
                return True
    return False


def cpu_s(pids):
    """User and system time of all threads, from the scheduler's own account in nanoseconds."""
    CPUCLOCK_SCHED = 2
    return sum(time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)


def switches(pids):
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                total += sum(int(row.split()[1]) for row in file if "ctxt_switches" in row)
    return total


def pss_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            total += sum(int(row.split()[1]) for row in file if row.startswith("Pss:"))
    return total


def disk_bytes(pids):
    """What they have had written to disks."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            total += int(re.search(r"^write_bytes: (\d+)$", file.read(), re.MULTILINE)[1])
    return total


def descriptors(pids):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
