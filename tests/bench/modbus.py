#!/usr/bin/env python3
"""Measures polling: many Modbus TCP devices, and a serial line on which some devices are dead.

Prints a line of JSON for each event model and measurement. docs/benchmarks.md says what the figures mean. The exit
status is 1 when a period was missed, or when the live devices of the line have less than 90 % of their rate alone.
"""

import argparse
import json
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # the source folder stays as it is

from process import Failed, Process, cpu_s, pss_kib
from subjects import MODELS, Place

CONFIG = """
gateway: {{ id = "bench"; control_socket = ""; log_level = "warning"; event_model = "{model}"; stats_interval = "1s"; }};
mqtt: {{ address = "127.0.0.1:{broker}"; qos = 1; }};
ports = ( {ports} );
"""


def registers(count):
    return ", ".join(f'{{ name = "r{i}"; table = "holding"; address = {i}; }}' for i in range(count))


def tcp_ports(devices, port, count):
    points = registers(count)
    return ",\n".join(
        f'{{ name = "plc{i}"; transport: {{ type = "tcp-client"; address = "127.0.0.1:{port}"; }}; '
        f'protocol: {{ type = "modbus-tcp"; }}; poll_interval = "1s"; points = ( {points} ); }}'
        for i in range(devices))


def line_ports(link, baud, units):
    devices = ", ".join(f'{{ name = "m{i}"; unit = {i}; }}' for i in units)
    return (f'{{ name = "line"; transport: {{ type = "serial"; path = "{link}"; baud = {baud}; }}; '
            f'protocol: {{ type = "modbus-rtu"; }}; poll_interval = "2s"; timeout = "500ms"; '
            f'points = ( {registers(10)} ); devices = ( {devices} ); }}')


class Statistics:
    """What the daemon publishes of itself, by a subscriber of mosquitto's."""

    def __init__(self, broker):
        self.subscriber = Process("mosquitto_sub", ["mosquitto_sub", "-p", str(broker), "-t", "fieldgate/bench/stats"])

    def next(self):
        return json.loads(self.subscriber.line(10))

    def end(self):
        self.subscriber.end()


def start_broker(place):
    from process import free_port, listens, until
    from subjects import BROKER_CONFIG
    import pwd
    import shutil
    path = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = free_port()
    user = pwd.getpwuid(os.getuid()).pw_name
    config = place.file("mosquitto.conf", BROKER_CONFIG.format(port=port, user=user))
    broker = Process("mosquitto", [path, "-c", config])
    until(lambda: listens(port), 10, "mosquitto")
    return broker, port


def run_daemon(place, model, broker, ports, warm_s, seconds):
    """What the daemon counts in so many seconds, its CPU and its memory."""
    config = place.file("fieldgate.cfg", CONFIG.format(model=model, broker=broker, ports=ports))
    statistics = Statistics(broker)
    daemon = Process("fieldgated", [place.daemon, "-c", config])
    try:
        time.sleep(warm_s)
        while statistics.subscriber.has_line(0.1):
            statistics.next()
        first, cpu, began = statistics.next(), cpu_s([daemon.pid]), time.monotonic()
        time.sleep(seconds)
        while statistics.subscriber.has_line(0.1):
            last = statistics.next()
        passed = time.monotonic() - began
        cpu = cpu_s([daemon.pid]) - cpu
        counted_s = last["uptime_s"] - first["uptime_s"]
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
            rss = next(int(row.split()[1]) for row in file if row.startswith("VmRSS"))
        count = {key: sum(port.get(key, 0) for port in last["ports"].values()) -
                 sum(port.get(key, 0) for port in first["ports"].values())
                 for key in ("received", "polls", "timeouts", "missed", "acknowledged")}
        return {"seconds": counted_s, **count, "cpu_percent": round(100 * cpu / passed, 2), "rss_kib": rss,
                "pss_kib": pss_kib([daemon.pid])}
    finally:
        if daemon.end() != 0:
            raise Failed("fieldgated did not end cleanly")
        statistics.end()


def measure_tcp(place, model, broker, options):
    devices = place.program("modbus_devices", "tcp")
    try:
        port = int(devices.expect("ready"))
        found = run_daemon(place, model, broker, tcp_ports(options.devices, port, 100), 3, options.seconds)
    finally:
        devices.end()
    found["values_per_s"] = round(100 * found["received"] / found["seconds"])
    return found, found["missed"] == 0 and found["timeouts"] == 0


def measure_line(place, model, broker, options):
    found = {}
    for name, units in (("alone", range(1, 25)), ("among_dead", range(1, 33))):
        link = os.path.join(place.folder, f"tty-{name}")
        devices = place.program("modbus_devices", "line", link, 9600, 5, 25)
        try:
            devices.expect("ready")
            found[name] = run_daemon(place, model, broker, line_ports(link, 9600, units), 5, options.seconds)
            os.unlink(link)
        finally:
            devices.end()
    rates = {name: found[name]["received"] / found[name]["seconds"] for name in found}
    return ({"alone_per_s": round(rates["alone"], 2), "among_dead_per_s": round(rates["among_dead"], 2),
             "kept": round(rates["among_dead"] / rates["alone"], 3)}, rates["among_dead"] >= 0.9 * rates["alone"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True, help="fieldgated")
    parser.add_argument("--programs", required=True, help="the folder of modbus_devices")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one; repeatable")
    parser.add_argument("--only", choices=("tcp", "line"), help="only one of the measurements")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        place = Place(options.daemon, options.programs, folder)
        broker, port = start_broker(place)
        try:
            for model in options.model or MODELS:
                for name, measure in (("tcp", measure_tcp), ("line", measure_line)):
                    if options.only in (None, name):
                        found, kept = measure(place, model, port, options)
                        good &= kept
                        print(json.dumps({"model": model, "measured": name, "good": kept, **found}), flush=True)
        finally:
            broker.end()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
