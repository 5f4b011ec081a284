"""Medians, ratios, the table and the JSON of a run of the benchmark."""

import json
import os
import platform
import statistics
import time

# The values of a figure: how they are shown, in which unit, with how many decimals.
VALUES = {
    "cpu_s_per_100k": ("CPU per 100 000", "s", 3),
    "switches_per_reading": ("context switches per reading", "", 4),
    "readings_per_s": ("readings a second", "", 0),
    "readings_per_sink_read": ("readings per read of the sink", "", 1),
    "p50_us": ("latency p50", "us", 0),
    "p99_us": ("latency p99", "us", 0),
    "max_us": ("latency, longest", "us", 0),
    "calls_per_reading": ("system calls per reading", "", 3),
    "pss_kib": ("PSS at the end", "KiB", 0),
    "idle_kib": ("PSS idle", "KiB", 0),
    "busy_kib": ("PSS with 50 busy connections", "KiB", 0),
    "idle_connections_kib": ("PSS with idle connections", "KiB", 0),
    "first_delivery_ms": ("from the start to the first delivery", "ms", 0),
    "disk_bytes_per_reading": ("written to the disk per reading", "bytes", 0),
    "bytes_per_connection": ("bytes per idle connection", "", 0),
    "echoes_per_s": ("echoes a second", "", 0),
    "switches_per_echo": ("context switches per echo", "", 3),
    "threads": ("threads", "", 0),
}


class Report:
    def __init__(self):
        self.figures = {}  # figure -> subject -> value -> list
        self.titles = {}
        self.references = {}
        self.skipped = []
        self.failed = []

    def add(self, figure, subject, values):
        taken = self.figures.setdefault(figure, {}).setdefault(subject, {})
        for name, value in values.items():
            taken.setdefault(name, []).append(value)

    def skip(self, what, why):
        self.skipped.append({"what": what, "why": why})
        print(f"skipped: {what}: {why}", flush=True)

    def fail(self, what, why):
        self.failed.append({"what": what, "why": str(why)})
        print(f"FAILED: {what}: {why}", flush=True)

    def median(self, figure, subject, name):
        values = self.figures.get(figure, {}).get(subject, {}).get(name)
        return statistics.median(values) if values else None

    def ratio(self, figure, subject, name):
        reference_figure, reference = self.references.get(figure, (figure, "baseline"))
        own, other = self.median(figure, subject, name), self.median(reference_figure, reference, name)
        return own / other if own is not None and other else None

    def table(self):
        for figure, subjects in self.figures.items():
            reference_figure, reference = self.references.get(figure, (figure, "baseline"))
            where = "" if reference_figure == figure else f" of {reference_figure}"
            print(f"\n{figure}: {self.titles.get(figure, '')}\n  (x: against {reference}{where})")
            names = list(dict.fromkeys(name for values in subjects.values() for name in values))
            for name in names:
                title, unit, decimals = VALUES.get(name, (name, "", 3))
                print(f"  {title}{', ' + unit if unit else ''}")
                for subject in subjects:
                    self.row(figure, subject, name, decimals)

    def row(self, figure, subject, name, decimals):
        median = self.median(figure, subject, name)
        if median is None:
            return
        values = self.figures[figure][subject][name]
        ratio = self.ratio(figure, subject, name)
        share = f"{ratio:6.2f} x" if ratio is not None else " " * 8
        spread = f"  ({min(values):,.{decimals}f} .. {max(values):,.{decimals}f})" if len(values) > 1 else ""
        print(f"    {subject:34s} {median:14,.{decimals}f} {share}{spread}")

    def write(self, path, conditions):
        figures = {
            figure: {"title": self.titles.get(figure, ""), "subjects": {
                subject: {name: {"median": statistics.median(values), "values": values,
                                 "ratio": self.ratio(figure, subject, name)}
                          for name, values in taken.items()}
                for subject, taken in subjects.items()}}
            for figure, subjects in self.figures.items()}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"conditions": conditions, "figures": figures, "skipped": self.skipped,
                       "failed": self.failed}, file, indent=2)
            file.write("\n")


def conditions(options):
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for row in file:
            if row.lower().startswith("model"):
                model = row.split(":", 1)[1].strip()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(), "machine": platform.machine(), "processor": model,
        "processors": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0],
        "build_type": options.build_type, "rounds": options.rounds, "quick": options.quick,
    }
