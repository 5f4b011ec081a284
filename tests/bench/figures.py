"""How each figure is taken. A figure is measured on one subject at a time and gives named values."""

import os
import shutil
import signal
import subprocess
import time

import process
from process import Failed, Process
from subjects import Broker

CONNECTIONS = 50


class Run:
    """A load, a subject and what is behind it, started together and ended together."""

    def __init__(self, place, subject, qos, count, rate=0, connections=CONNECTIONS, sink=True, end_marks=False):
        self.place = place
        self.subject = subject
        self.qos = qos
        self.count = count
        self.connections = min(connections, subject.max_connections or connections)
        self.running = []
        self.sink = None
        self.load_arguments = ["--connections", self.connections, "--count", count, "--rate", rate]
        self.load_arguments += ["--end-marks"] if end_marks else []
        self.with_sink = sink

    def __enter__(self):
        try:
            if self.with_sink:
                self.sink = self.start(self.place.program("sink", "--expect", self.count))
                self.broker_port = int(self.sink.expect("listening"))
            else:
                broker = Broker(self.place)
                self.running.append(broker)
                self.broker_port = broker.port
            self.prepare()
            self.running.append(self.subject)
            self.subject.start(self.broker_port, self.qos)
            if self.sink:
                self.sink.expect("connected", 30)
            before = self.subject.descriptors()
            self.load = self.start(self.place.program("load", "--port", self.subject.port, *self.load_arguments))
            self.load.expect("ready", 60)
            process.until(lambda: self.subject.descriptors() >= before + self.connections, 60,
                          f"{self.subject.name} has not accepted {self.connections} connections")
            return self
        except BaseException:
            self.__exit__()
            raise

    def prepare(self):
        """What must stand before the subject does."""

    def __exit__(self, *_):
        for child in reversed(self.running):
            child.end()

    def start(self, child):
        self.running.append(child)
        return child

    def timed(self, wait):
        """Lets the load go and waits; returns the figures of that time."""
        pids = self.subject.pids()
        cpu, switches, start = process.cpu_s(pids), process.switches(pids), time.monotonic()
        self.load.say("\n")
        result = wait()
        elapsed = time.monotonic() - start
        used = process.cpu_s(pids) - cpu
        return result, {
            "cpu_s_per_100k": used / self.count * 1e5,
            "switches_per_reading": (process.switches(pids) - switches) / self.count,
            "readings_per_s": self.count / elapsed,
            "pss_kib": process.pss_kib(pids),
        }

    def result_of(self, child, timeout_s=120):
        """The JSON of the sink or the subscriber, or at once why it will not come."""
        deadline = time.monotonic() + timeout_s
        while not child.has_line(0.5):
            for other in (self.subject.process, self.load):
                if not other.running():
                    raise Failed(f"{other.name} ended with status {other.child.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{child.name} said nothing for {timeout_s} s")
        return child.json(1)

    def sink_result(self):
        return self.result_of(self.sink)


def check(result, count):
    wrong = {key: result[key] for key in ("missing", "repeated", "reordered") if result[key]}
    if result["received"] != count or wrong:
        raise Failed(f"{result['received']} of {count} readings came, {wrong or 'in order'}")


def against_sink(place, subject, qos, count, rate=0, connections=CONNECTIONS):
    with Run(place, subject, qos, count, rate, connections) as run:
        result, values = run.timed(run.sink_result)
        check(result, count)
        values["readings_per_sink_read"] = result["received"] / max(result["reads"], 1)
        return values


def outage(place, subject, count, rate):
    """The broker is away while the readings come; then it is there, and takes them all."""
    port = process.free_port()
    running = [subject]
    try:
        subject.start(port, 1)
        running.append(place.program("load", "--port", subject.port, "--connections", CONNECTIONS, "--count", count,
                                     "--rate", rate))
        running[-1].expect("ready", 60)
        before = process.disk_bytes(subject.pids())
        running[-1].say("\n")
        running[-1].json(120)
        settled = Settled(lambda: process.disk_bytes(subject.pids()), 2.5)
        process.until(settled, 60, f"{subject.name} does not come to rest")
        written = settled.value - before
        sink = place.program("sink", "--port", port, "--expect", count)
        running.append(sink)
        sink.expect("listening")
        sink.expect("connected", 70)
        result = sink.json(120)
        check(result, count)
        return {"disk_bytes_per_reading": written / count, "readings_per_s": count / result["arriving_s"]}
    finally:
        for child in reversed(running):
            child.end()


def restart(place, subject, count):
    """Killed with the backlog on disk: how long from its next start to the first message that the broker has."""
    port = process.free_port()
    running = [subject]
    try:
        subject.start(port, 1)
        running.append(place.program("load", "--port", subject.port, "--connections", CONNECTIONS, "--count", count))
        running[-1].expect("ready", 60)
        running[-1].say("\n")
        running[-1].json(120)
        process.until(Settled(lambda: process.disk_bytes(subject.pids()), 2.5), 60, f"{subject.name} does not rest")
        subject.kill()
        sink = place.program("sink", "--port", port, "--expect", 1)
        running.append(sink)
        sink.expect("listening")
        begin = time.monotonic()
        subject.start_again()
        sink.expect("connected")
        sink.json(60)
        return {"first_delivery_ms": (time.monotonic() - begin) * 1000}
    finally:
        for child in reversed(running):
            child.end()


class Settled:
    """Whether a value has not changed for some seconds."""

    def __init__(self, look, seconds):
        self.look, self.seconds = look, seconds
        self.value, self.since = look(), time.monotonic()

    def __call__(self):
        value = self.look()
        if value != self.value:
            self.value, self.since = value, time.monotonic()
        return time.monotonic() - self.since >= self.seconds


class ThroughBroker(Run):
    """Through a real mosquitto, to a subscriber that was there first."""

    def __init__(self, *arguments, subscriber, **more):
        super().__init__(*arguments, sink=False, **more)
        self.subscriber_arguments = subscriber

    def prepare(self):
        self.subscriber = self.start(
            self.place.program("subscriber", "--port", self.broker_port, "--timeout", 120, *self.subscriber_arguments))
        self.subscriber.expect("subscribed")


def latency(place, subject, qos, count, rate):
    arguments = ["--qos", qos, "--expect", count]
    with ThroughBroker(place, subject, qos, count, rate, subscriber=arguments) as run:
        result, values = run.timed(lambda: run.result_of(run.subscriber))
        check(result, count)
        return {"p50_us": result["p50_us"], "p99_us": result["p99_us"], "max_us": result["max_us"],
                "cpu_s_per_100k": values["cpu_s_per_100k"]}


def through_mosquitto(place, subject, qos, count):
    """Each connection says at its end that it is done; when all of that has come back, the broker had everything."""
    arguments = ["--any-order", "--topic", "fieldgate/bench/d99999/state", "--expect", CONNECTIONS]
    with ThroughBroker(place, subject, qos, count, subscriber=arguments, end_marks=True) as run:
        _, values = run.timed(lambda: run.result_of(run.subscriber))
        return {key: values[key] for key in ("readings_per_s", "cpu_s_per_100k")}


def memory(place, subject, count, idle_connections):
    """PSS: idle; while 50 connections send 10 000 a second; with idle connections."""
    values = {}
    with Run(place, subject, 1, count, rate=10000) as run:
        pids = subject.pids()
        most = [0]

        def sample():
            while not run.sink.has_line(0.2) and subject.process.running():
                most[0] = max(most[0], process.pss_kib(pids))
            return run.sink_result()

        result, after = run.timed(sample)
        check(result, count)
        values["busy_kib"] = max(most[0], after["pss_kib"])
    with Run(place, subject, 1, 1, connections=1) as run:
        values["idle_kib"] = process.pss_kib(subject.pids())
    if idle_connections:
        with Run(place, subject, 1, 1, connections=idle_connections) as run:
            values["idle_connections_kib"] = process.pss_kib(subject.pids())
            values["bytes_per_connection"] = (
                (values["idle_connections_kib"] - values["idle_kib"]) * 1024 / idle_connections)
    return values


def files_missing(connections):
    hard = process.resource.getrlimit(process.resource.RLIMIT_NOFILE)[1]
    if hard != process.resource.RLIM_INFINITY and hard < connections + 100:
        return f"{connections} connections need as many descriptors; the hard limit here is {hard}"
    return None


def counter():
    """The means to count system calls, or None and why."""
    perf = shutil.which("perf")
    if perf and subprocess.run([perf, "stat", "-e", "raw_syscalls:sys_enter", "true"], check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30).returncode == 0:
        return "perf", None
    strace = shutil.which("strace")
    if strace and subprocess.run([strace, "-c", "-o", "/dev/null", "true"], check=False,
                                 stderr=subprocess.DEVNULL, timeout=30).returncode == 0:
        return "strace", None
    return None, "neither perf (raw_syscalls:sys_enter) nor strace can be used here"


def _counted(path, tool):
    with open(path, encoding="utf-8") as file:
        rows = file.read().splitlines()
    if tool == "perf":
        return sum(int(row.split(",")[0]) for row in rows if "sys_enter" in row)
    totals = [row.split() for row in rows if row.endswith("total")]
    return int(totals[-1][3]) if totals and len(totals[-1]) > 3 else 0


def system_calls(place, subject, qos, count, tool, rate=0):
    path = os.path.join(place.folder, "calls")
    with Run(place, subject, qos, count, rate=rate) as run:
        if tool == "perf":
            command = ["perf", "stat", "-x,", "-o", path, "-e", "raw_syscalls:sys_enter", "-p", str(subject.process.pid)]
        else:
            command = ["strace", "-c", "-f", "-q", "-o", path, "-p", str(subject.process.pid)]
        watcher = run.start(Process(tool, command, stderr=subprocess.DEVNULL))
        time.sleep(0.5)  # neither says when it has begun
        result, _ = run.timed(run.sink_result)
        check(result, count)
        watcher.child.send_signal(signal.SIGINT)
        watcher.child.wait(20)
    return {"calls_per_reading": _counted(path, tool) / count}


def echo(place, model, count):
    program = place.program("echo", "--model", model, "--count", count, stderr=subprocess.DEVNULL)
    try:
        result = program.json(130)
    finally:
        program.end()
    per_100k = 1e5 / result["echoes"]
    return {"cpu_s_per_100k": result["cpu_s"] * per_100k, "echoes_per_s": result["echoes"] / result["elapsed_s"],
            "switches_per_echo": result["switches"] / result["echoes"], "threads": result["threads"]}
