#!/usr/bin/env python3
"""Checks from the include lines that each layer uses only the layers below it.

usage: check_layers.py SOURCE_DIR    prints every violation; exit status 1 when there is one
       check_layers.py --self-check  checks the checker on made-up trees
"""

import fnmatch
import pathlib
import re
import subprocess
import sys
import tempfile

# Layer -> the other layers that it may include. Its own it always may.
BELOW = {
    "base": (),
    "event": ("base",),
    "protocol": ("base",),
    "config": ("base",),
    "transport": ("event", "base"),
    "mqtt": ("event", "base"),
    "device": ("transport", "protocol", "config", "event", "base"),
    "gateway": ("device", "mqtt", "transport", "protocol", "config", "event", "base"),
    "ctl": ("base",),
    "tools": ("gateway", "device", "mqtt", "transport", "protocol", "config", "event", "base"),
    "main": ("gateway", "device", "mqtt", "transport", "protocol", "config", "event", "base"),
}

# Layer -> its headers in include/fieldgate.
PUBLIC = {
    "base": "clock buffer value text reason origin log map setting topic",
    "event": "event_model loop timer pace pool strand",
    "protocol": "framing decoder command_payload modbus modbus_point modbus_plan modbus_poll",
    "config": "config",
    "transport": "transport link address resolver unix_file",
    "mqtt": "message publisher payload outbox spool",
    "device": "port device report command",
    "gateway": "gateway",
}
LAYER_OF_HEADER = {f"{name}.h": layer for layer, names in PUBLIC.items() for name in names.split()}

# Headers of a library -> the only files that may include them.
LIBRARIES = {
    "mosquitto*.h": ("src/mqtt/publisher*.c",),
    "mqtt_protocol.h": ("src/mqtt/publisher*.c",),
    "libconfig.h": ("src/config/*",),
    "liburing.h": ("src/event/proactor*",),
    "liburing/*": ("src/event/proactor*",),
    "sqlite3*.h": ("src/mqtt/spool*.c",),
    "systemd/*": ("src/gateway/notify.c",),
    "jansson*.h": ("src/protocol/*", "src/ctl/*", "src/gateway/control_request.c"),
}

INCLUDE = re.compile(r"^\s*#\s*(?:include|include_next|import)\b\s*(.*)$")
NAME = re.compile(r'^(?:<([^>]+)>|"([^"]+)")')


def layer_of(path):
    """The layer of a file, path relative to the source folder; None when it is in none."""
    parts = path.parts
    if parts[0] == "include":
        return LAYER_OF_HEADER.get(path.name) if len(parts) == 3 else None
    if len(parts) == 2:
        return "main" if path.name == "main.c" else None
    return parts[1] if parts[1] in BELOW and parts[1] != "main" else None


def no_layer(path):
    if path.parts[0] == "include":
        return "public header in no layer: add it to PUBLIC in tests/layers/check_layers.py"
    return "file in no layer: source files stand in src/<layer>/, layers are in BELOW in tests/layers/check_layers.py"


def check_library(path, name):
    for pattern, users in LIBRARIES.items():
        if fnmatch.fnmatchcase(name, pattern):
            if not any(fnmatch.fnmatchcase(path.as_posix(), user) for user in users):
                return f"{name} may be included only in {' and '.join(users)}"
    return None


def check_include(root, path, layer, argument):
    """What is wrong with one include line, or None."""
    match = NAME.match(argument)
    if not match:
        return f"the included name is not plain: {argument}"
    name = match[1] or match[2]
    if name.startswith("fieldgate/"):
        header = name.removeprefix("fieldgate/")
        other = LAYER_OF_HEADER.get(header)
        if other is None:
            return f"{name} is in no layer: add it to PUBLIC in tests/layers/check_layers.py"
        if other != layer and other not in BELOW[layer]:
            return f"{layer} must not include {name} of {other}"
        return None
    problem = check_library(path, name)
    if problem or match[1]:
        return problem
    if "/" in name:
        return f'"{name}": a private header is included by its bare name, from its own folder'
    if path.parts[0] == "include":
        return f'"{name}": a public header must not include a private one'
    if not (root / path.parent / name).is_file():
        return f'"{name}" does not stand in {path.parent.as_posix()}: private headers are for their own folder'
    return None


def check_file(root, path):
    layer = layer_of(path)
    if layer is None:
        return [f"{path.as_posix()}: {no_layer(path)}"]
    problems = []
    text = (root / path).read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        problem = check_include(root, path, layer, match[1]) if match else None
        if problem:
            problems.append(f"{path.as_posix()}:{number}: {problem}")
    return problems


def check_tree(root):
    """All problems below root, and the number of files looked at."""
    files = [file.relative_to(root) for top in ("src", "include") for file in sorted((root / top).rglob("*.[ch]"))]
    return [problem for file in files for problem in check_file(root, file)], len(files)


GOOD = {
    "include/fieldgate/clock.h": "#include <stdint.h>\n",
    "include/fieldgate/config.h": '#include "fieldgate/clock.h"\n',
    "include/fieldgate/framing.h": '#include "fieldgate/clock.h"\n',
    "include/fieldgate/loop.h": '#include "fieldgate/clock.h"\n',
    "include/fieldgate/publisher.h": '#include "fieldgate/loop.h"\n',
    "include/fieldgate/transport.h": '#include "fieldgate/loop.h"\n',
    "include/fieldgate/port.h": '#include "fieldgate/transport.h"\n',
    "include/fieldgate/gateway.h": '#include "fieldgate/port.h"\n',
    "src/main.c": '#include "fieldgate/gateway.h"\n#include "fieldgate/clock.h"\n',
    "src/base/clock.c": '#include "fieldgate/clock.h"\n#include <time.h>\n',
    "src/event/private.h": '#include "fieldgate/loop.h"\n',
    "src/event/proactor_uring.c": '#include "private.h"\n#include <liburing.h>\n',
    "src/protocol/json.c": '#include "fieldgate/framing.h"\n#include <jansson.h>\n',
    "src/config/reader.c": '#include "fieldgate/config.h"\n#include <libconfig.h>\n',
    "src/transport/tcp.c": '#include "fieldgate/transport.h"\n#include "fieldgate/clock.h"\n',
    "src/mqtt/publisher.c": '#include "fieldgate/publisher.h"\n#include <mosquitto.h>\n',
    "src/mqtt/spool.c": "#include <sqlite3.h>\n",
    "src/device/port.c": '#include "fieldgate/port.h"\n#include "fieldgate/framing.h"\n#include "fieldgate/config.h"\n',
    "src/gateway/gateway.c": '#include "fieldgate/gateway.h"\n#include "fieldgate/publisher.h"\n',
    "src/tools/print.c": '#include "fieldgate/gateway.h"\n',
    "src/ctl/main.c": '#include "fieldgate/clock.h"\n#include <jansson.h>\n',
}

# A file that is added to (or put in place of one in) the good tree -> a part of what must be said about it.
BAD = [
    ("src/base/bad.c", '#include "fieldgate/loop.h"', "base must not include fieldgate/loop.h of event"),
    ("src/base/bad.c", "  #  include\t<fieldgate/loop.h>", "base must not include fieldgate/loop.h of event"),
    ("src/base/bad.c", '#include \\\n"fieldgate/loop.h"', "base must not include fieldgate/loop.h of event"),
    ("src/event/bad.c", '#include "fieldgate/transport.h"', "event must not include"),
    ("src/event/bad.c", '#include "fieldgate/framing.h"', "event must not include"),
    ("src/protocol/bad.c", '#include "fieldgate/loop.h"', "protocol must not include"),
    ("src/protocol/bad.c", '#include "fieldgate/config.h"', "protocol must not include"),
    ("src/config/bad.c", '#include "fieldgate/framing.h"', "config must not include"),
    ("src/config/bad.c", '#include "fieldgate/loop.h"', "config must not include"),
    ("src/transport/bad.c", '#include "fieldgate/port.h"', "transport must not include"),
    ("src/transport/bad.c", '#include "fieldgate/framing.h"', "transport must not include"),
    ("src/mqtt/bad.c", '#include "fieldgate/port.h"', "mqtt must not include"),
    ("src/mqtt/bad.c", '#include "fieldgate/transport.h"', "mqtt must not include"),
    ("src/mqtt/bad.c", '#include "fieldgate/config.h"', "mqtt must not include"),
    ("src/device/bad.c", '#include "fieldgate/publisher.h"', "device must not include"),
    ("src/device/bad.c", '#include "fieldgate/gateway.h"', "device must not include"),
    ("src/ctl/bad.c", '#include "fieldgate/config.h"', "ctl must not include"),
    ("include/fieldgate/loop.h", '#include "fieldgate/port.h"', "event must not include"),
    ("include/fieldgate/gizmo.h", "", "public header in no layer"),
    ("src/gateway/bad.c", '#include "fieldgate/gizmo.h"', "fieldgate/gizmo.h is in no layer"),
    ("src/gadget/bad.c", "", "file in no layer"),
    ("src/bad.c", "", "file in no layer"),
    ("src/transport/bad.c", '#include "private.h"', "does not stand in src/transport"),
    ("src/transport/bad.c", '#include "../event/private.h"', "bare name"),
    ("src/transport/bad.c", '#include "event/private.h"', "bare name"),
    ("include/fieldgate/loop.h", '#include "private.h"', "must not include a private one"),
    ("src/base/bad.c", "#include SOME_MACRO", "not plain"),
    ("src/mqtt/outbox.c", "#include <mosquitto.h>", "mosquitto.h may be included only in"),
    ("src/mqtt/outbox.c", '#include "mosquitto.h"', "mosquitto.h may be included only in"),
    ("src/mqtt/publisher.h", "#include <mosquitto.h>", "mosquitto.h may be included only in"),
    ("src/gateway/bad.c", "#include <libconfig.h>", "libconfig.h may be included only in"),
    ("src/event/reactor.c", "#include <liburing.h>", "liburing.h may be included only in"),
    ("src/mqtt/publisher_x.c", "#include <sqlite3.h>", "sqlite3.h may be included only in"),
    ("src/device/bad.c", "#include <jansson.h>", "jansson.h may be included only in"),
    ("include/fieldgate/framing.h", "#include <jansson.h>", "jansson.h may be included only in"),
]


def run_on(files):
    """Exit status and output of the check of a tree of these files."""
    with tempfile.TemporaryDirectory(prefix="fieldgate-layers-") as folder:
        for name, text in files.items():
            file = pathlib.Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n", encoding="utf-8")
        done = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def self_check():
    failures = []
    status, output = run_on(GOOD)
    if status != 0:
        failures.append(f"the good tree does not pass:\n{output}")
    status, output = run_on({})
    if status == 0:
        failures.append("an empty tree passes")
    for name, text, expected in BAD:
        status, output = run_on({**GOOD, name: text})
        lines = [line for line in output.splitlines() if line.startswith(f"{name}:")]
        if status != 1 or len(lines) != 1 or expected not in lines[0]:
            failures.append(f"{name} with {text!r}: status {status}, expected {expected!r}, got:\n{output}")
    for failure in failures:
        print(failure)
    print(f"{len(BAD)} bad trees, {len(failures)} failures")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["--self-check"]:
        return self_check()
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    problems, count = check_tree(pathlib.Path(arguments[0]))
    for problem in problems:
        print(problem)
    if count == 0:
        print(f"{arguments[0]}: no source files")
    else:
        print(f"{count} files, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
