#!/usr/bin/env python3
"""Runs the benchmark: prints a table and writes JSON. docs/benchmarks.md says what the figures mean."""

import argparse
import collections
import signal
import sys
import tempfile

sys.dont_write_bytecode = True  # the source folder stays as it is

import figures
import report
import subjects
from process import Failed

Figure = collections.namedtuple("Figure", "name title subjects measure reference", defaults=[None])

IDLE_CONNECTIONS = 10000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", required=True, help="fieldgated")
    parser.add_argument("--programs", required=True, help="the folder of load, sink, baseline, subscriber and echo")
    parser.add_argument("--build-type", default="", help="for the record")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, help="each figure is the median of so many (5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="little and once: to see that it works")
    parser.add_argument("--smoke", action="store_true", help="a few hundred readings, for correctness only")
    parser.add_argument("--only", action="append", default=[], help="the figures whose names begin so; repeatable")
    parser.add_argument("--subject", action="append", default=[], help="only these subjects; repeatable")
    parser.add_argument("--list", action="store_true", help="name the figures and end")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.divisor = 10 if options.quick else 1
    return options


def cpu_figures(place, models, baselines, divisor):
    """CPU against the sink: as fast as possible and steady, without and with linger."""
    lingering = [subjects.Daemon(place, model, "1ms") for model in models]
    plain = [*baselines, *[subjects.Daemon(place, model) for model in models]]
    for qos in (0, 1):
        for name, title, count, rate in (
                ("fast", "50 connections as fast as possible", 200000, 0),
                ("steady", "50 connections, 10 000 readings a second", 50000, 10000)):

            def measure(subject, qos=qos, count=count // divisor, rate=rate):
                return figures.against_sink(place, subject, qos, count, rate)

            yield Figure(f"{name}-qos{qos}", f"{title}, QoS {qos}, against the sink", plain, measure)
            yield Figure(f"{name}-linger-qos{qos}", f"{title}, QoS {qos}, linger 1 ms", lingering, measure,
                         (f"{name}-qos{qos}", "baseline"))


def broker_figures(place, models, baselines, divisor):
    plain = [*baselines, *[subjects.Daemon(place, model) for model in models]]
    yield Figure("mosquitto-qos1", "50 connections as fast as possible, QoS 1, to mosquitto", plain,
                 lambda subject: figures.through_mosquitto(place, subject, 1, 100000 // divisor))
    spools = [subjects.Daemon(place, "reactor", durability=name) for name in (None, "outage", "always")]
    yield Figure("spool-qos1", "the same with a spool", spools,
                 lambda subject: figures.through_mosquitto(place, subject, 1, 300000 // divisor),
                 ("spool-qos1", "reactor"))
    for qos in (0, 1):
        yield Figure(f"latency-qos{qos}", f"wire to subscriber through mosquitto at 1 000 a second, QoS {qos}", plain,
                     lambda subject, qos=qos: figures.latency(place, subject, qos, 5000 // divisor, 1000),
                     (f"latency-qos{qos}", "baseline, TCP_NODELAY"))


def spool_figures(place, divisor):
    outage, always = (subjects.Daemon(place, "reactor", durability=name) for name in ("outage", "always"))
    yield Figure("outage", "500 readings a second while the broker is away, then delivered", [outage, always],
                 lambda subject: figures.outage(place, subject, 5000 // divisor, 500))
    yield Figure("drain", "100 000 readings that waited on disk are delivered to the sink", [outage, always],
                 lambda subject: figures.outage(place, subject, 100000 // divisor, 0), ("fast-qos1", "reactor"))
    yield Figure("restart", "killed with 100 000 readings on disk: from the next start to the first delivery",
                 [outage, always], lambda subject: figures.restart(place, subject, 100000 // divisor))


def peers(place, result):
    found = []
    for peer in (subjects.Socat, subjects.NodeRed):
        why = peer.missing()
        if why:
            result.skip(f"peer {peer(place).name}", why)
        else:
            found.append(peer(place))
    return found


def plan(place, models, divisor, result):
    baseline = subjects.Baseline(place)
    nodelay = subjects.Baseline(place, "baseline, TCP_NODELAY", "--nodelay")
    daemons = [subjects.Daemon(place, model) for model in models]
    yield from cpu_figures(place, models, [baseline, nodelay], divisor)
    if subjects.Broker.missing():
        result.skip("figures with a real broker", subjects.Broker.missing())
    else:
        yield from broker_figures(place, models, [baseline, nodelay], divisor)
    yield from spool_figures(place, divisor)
    idle = IDLE_CONNECTIONS // divisor
    if figures.files_missing(idle):
        result.skip("memory with idle connections", figures.files_missing(idle))
        idle = 0
    yield Figure("memory", f"PSS; idle connections: {idle}", [baseline, *daemons],
                 lambda subject: figures.memory(place, subject, 20000 // divisor, idle))
    tool, why = figures.counter()
    if why:
        result.skip("system calls", why)
    for qos in (0, 1) if tool else ():
        yield Figure(f"calls-qos{qos}", f"system calls, 50 connections as fast as possible, QoS {qos} ({tool})",
                     [baseline, *daemons],
                     lambda subject, qos=qos: figures.system_calls(place, subject, qos, 100000 // divisor, tool))
        yield Figure(f"calls-steady-qos{qos}",
                     f"system calls, 50 connections, 10 000 readings a second, QoS {qos} ({tool})", [baseline, *daemons],
                     lambda subject, qos=qos: figures.system_calls(place, subject, qos, 50000 // divisor, tool, 10000))
    yield Figure("peers", "2 000 readings a second, QoS 1, against the sink; socat: one connection",
                 [baseline, *daemons, *peers(place, result)],
                 lambda subject: figures.against_sink(place, subject, 1, 10000 // divisor, 2000))
    echoes = [subjects.Echo(name) for name in (*subjects.MODELS, "posix-aio")]
    yield Figure("echo", "the same echo over 50 socket pairs", echoes,
                 lambda subject: figures.echo(place, subject.name, 200000 // divisor), ("echo", "reactor"))


def measure(figure, options, result):
    """In turn, so that what else the machine does meets them all alike."""
    result.titles[figure.name] = figure.title
    if figure.reference:
        result.references[figure.name] = figure.reference
    chosen = [s for s in figure.subjects if not options.subject or s.name in options.subject]
    for number in range(options.rounds):
        for subject in chosen:
            print(f"{figure.name}: {subject.name}, round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            try:
                result.add(figure.name, subject.name, figure.measure(subject))
            except (Failed, OSError, ValueError) as why:
                result.fail(f"{figure.name}, {subject.name}", why)


def smoke(place, models, result):
    """That all programs work and agree: nothing lost, repeated or out of order, whatever the QoS."""
    tried = [subjects.Baseline(place), *[subjects.Daemon(place, model) for model in models]]
    for subject in tried:
        for qos in (0, 1, 2):
            yield subject, f"sink, QoS {qos}", lambda s=subject, q=qos: figures.against_sink(place, s, q, 500)
        if not subjects.Broker.missing():
            yield subject, "mosquitto", lambda s=subject: figures.latency(place, s, 1, 300, 1000)
    if subjects.Broker.missing():
        result.skip("mosquitto", subjects.Broker.missing())


def run(options, place, result):
    models, refused = subjects.runnable_models(place)
    for model, why in refused.items():
        # What the machine does not grant the daemon says so; anything else is a fault.
        tell = result.skip if "cannot run" in why else result.fail
        tell(f"event model {model}", why)
    if not models:
        result.fail("fieldgated", "it runs in no event model")
    if options.smoke:
        for subject, name, attempt in smoke(place, models, result):
            try:
                attempt()
                if subject.status != 0:
                    raise Failed(f"it ended with status {subject.status}")
                print(f"ok: {name}, {subject.name}", flush=True)
            except (Failed, OSError, ValueError) as why:
                result.fail(f"{name}, {subject.name}", why)
        return
    for figure in plan(place, models, options.divisor, result):
        if options.list:
            print(f"{figure.name}: {figure.title}")
        elif not options.only or any(figure.name.startswith(name) for name in options.only):
            measure(figure, options, result)


def main():
    options = arguments()
    result = report.Report()
    conditions = report.conditions(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children and the folder go too
    if not options.smoke and options.build_type not in ("Release", "RelWithDebInfo", "MinSizeRel"):
        print(f'this is a build of type "{options.build_type}": its figures say little', file=sys.stderr)
    if not options.smoke and conditions["load_before"] > 0.5:
        print(f"the machine is busy (load {conditions['load_before']:.1f}): the figures will suffer", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="fieldgate-bench-") as folder:
        run(options, subjects.Place(options.daemon, options.programs, folder), result)
    result.table()
    if options.json:
        result.write(options.json, conditions)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
