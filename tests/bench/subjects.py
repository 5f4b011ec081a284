"""What is measured: the daemon in each event model, the baseline program, and other ways to do the same."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

from process import Failed, Process, descriptors, free_port, listens, until

# Before the programs of this build: the emulator, where they are another processor's.
WRAPPER = os.environ.get("FG_TEST_WRAPPER", "").split()

MODELS = ("reactor", "simulated-proactor", "proactor")

DAEMON_CONFIG = """
gateway: {{ id = "bench"; control_socket = ""; log_level = "warning"; event_model = "{model}"; }};
mqtt: {{ address = "127.0.0.1:{broker}"; qos = {qos}; linger = "{linger}"; }};
{spool}
ports = ( {{ name = "bench";
    transport: {{ type = "tcp-server"; bind = "127.0.0.1"; tcp_port = {port}; max_connections = 20000; }};
    framing: {{ type = "line"; max_bytes = 256; }};
    decoder: {{ type = "csv"; columns = [ "id", "", "", "" ]; }};
    identity = "key:id"; payload = "raw"; }} );
"""

BROKER_CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
log_type none
user {user}
"""


class Place:
    """Where the programs are, and a folder for what they need."""

    def __init__(self, daemon, programs, folder):
        self.daemon = daemon
        self.programs = programs
        self.folder = folder

    def program(self, name, *arguments, **more):
        return Process(name, [*WRAPPER, os.path.join(self.programs, name), *map(str, arguments)], **more)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Subject:
    """Something that reads lines on a port and publishes them. max_connections: None, or what it can take."""

    max_connections = None

    def __init__(self, place, name):
        self.place = place
        self.name = name
        self.process = None
        self.status = None  # how it ended
        self.port = None

    def command(self, broker, qos):
        raise NotImplementedError

    def start(self, broker, qos):
        self.port = free_port()
        log = open(os.path.join(self.place.folder, f"{self.name}.log"), "wb")
        with log:
            self.process = Process(self.name, self.command(broker, qos), stderr=log)
        try:
            until(lambda: listens(self.port) or not self.process.running(), 30, f"{self.name} does not listen")
            if not self.process.running():
                raise Failed(f"{self.name} does not start: {self.last_words()}")
        except Failed:
            self.process.end()
            raise

    def last_words(self):
        with open(os.path.join(self.place.folder, f"{self.name}.log"), encoding="utf-8", errors="replace") as log:
            rows = log.read().strip().splitlines()
        return rows[-1] if rows else "it said nothing"

    def pids(self):
        return self.process.members()

    def descriptors(self):
        return descriptors(self.pids())

    def end(self):
        if self.process:
            self.status = self.process.end()
            self.process = None

    def kill(self):
        """As a power cut does: without a word."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.end()

    def start_again(self):
        """With the configuration and the files of before; does not wait until it listens."""
        self.process = Process(self.name, [*WRAPPER, self.place.daemon, "-c",
                                           os.path.join(self.place.folder, "fieldgate.cfg")])


class Daemon(Subject):
    def __init__(self, place, model, linger="0ms", durability=None):
        name = model if linger == "0ms" else f"{model}, linger {linger}"
        super().__init__(place, name if not durability else f"{name}, spool {durability}")
        self.model = model
        self.linger = linger
        self.durability = durability

    def spool(self):
        """In a folder of its own, and new each time."""
        if not self.durability:
            return ""
        folder = tempfile.mkdtemp(dir=self.place.folder)
        return f'spool: {{ path = "{folder}/spool.db"; durability = "{self.durability}"; max_bytes = "1GiB"; }};'

    def command(self, broker, qos):
        path = self.place.file("fieldgate.cfg", DAEMON_CONFIG.format(
            model=self.model, broker=broker, qos=qos, linger=self.linger, port=self.port, spool=self.spool()))
        return [*WRAPPER, self.place.daemon, "-c", path]


class Baseline(Subject):
    def __init__(self, place, name="baseline", *more):
        super().__init__(place, name)
        self.more = more

    def command(self, broker, qos):
        return [*WRAPPER, os.path.join(self.place.programs, "baseline"), "--broker", str(broker),
                "--listen", str(self.port), "--qos", str(qos), *self.more]


class Socat(Subject):
    """One connection, one topic: it cannot tell devices apart."""

    max_connections = 1

    def __init__(self, place):
        super().__init__(place, "socat|mosquitto_pub")

    def descriptors(self):
        # It closes the listening socket for the connection, so one comes and one goes.
        return super().descriptors() + (0 if listens(self.port) else 1)

    @staticmethod
    def missing():
        gone = [name for name in ("socat", "mosquitto_pub") if not shutil.which(name)]
        return f"{' and '.join(gone)} not installed" if gone else None

    def command(self, broker, qos):
        return ["sh", "-c", f"socat -u TCP-LISTEN:{self.port},bind=127.0.0.1,reuseaddr STDOUT | "
                f"mosquitto_pub -h 127.0.0.1 -p {broker} -q {qos} -l -t fieldgate/bench/all/state"]


class NodeRed(Subject):
    def __init__(self, place):
        super().__init__(place, "Node-RED")

    @staticmethod
    def missing():
        return None if os.environ.get("NODE_RED") else "NODE_RED does not name the node-red program or its red.js"

    def flow(self, broker, qos):
        function = "msg.topic='fieldgate/bench/'+msg.payload.split(',',1)[0]+'/state';return msg;"
        return [
            {"id": "tab", "type": "tab", "label": "bench"},
            {"id": "in", "type": "tcp in", "z": "tab", "server": "server", "host": "", "port": str(self.port),
             "datamode": "stream", "datatype": "utf8", "newline": "\\n", "topic": "", "trim": False,
             "base64": False, "tls": "", "wires": [["topic"]]},
            {"id": "topic", "type": "function", "z": "tab", "func": function, "outputs": 1, "initialize": "",
             "finalize": "", "libs": [], "wires": [["out"]]},
            {"id": "out", "type": "mqtt out", "z": "tab", "topic": "", "qos": str(qos), "retain": "false",
             "broker": "broker", "wires": []},
            {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker), "clientid": "node-red",
             "autoConnect": True, "usetls": False, "protocolVersion": "4", "keepalive": "60", "cleansession": True},
        ]

    def command(self, broker, qos):
        folder = os.path.join(self.place.folder, "node-red")
        os.makedirs(folder, exist_ok=True)
        self.place.file("node-red/flows.json", json.dumps(self.flow(broker, qos)))
        self.place.file("node-red/settings.js", "module.exports = { flowFile: 'flows.json', uiHost: '127.0.0.1', "
                        f"uiPort: {free_port()}, httpAdminRoot: false, httpNodeRoot: false, "
                        "logging: { console: { level: 'warn' } } };\n")
        program = os.environ["NODE_RED"]
        start = ["node", program] if program.endswith(".js") else [program]
        return [*start, "--userDir", folder]


class Echo:
    """A model of the micro-benchmark, by name only."""

    def __init__(self, name):
        self.name = name


class Broker:
    """A real mosquitto on a port of its own."""

    def __init__(self, place):
        self.port = free_port()
        user = "root" if os.geteuid() == 0 else "mosquitto"
        config = place.file("mosquitto.conf", BROKER_CONFIG.format(port=self.port, user=user))
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        self.process = Process("mosquitto", [shutil.which("mosquitto", path=path), "-c", config],
                               stderr=subprocess.DEVNULL)
        try:
            until(lambda: listens(self.port), 10, "mosquitto does not listen")
        except Failed:
            self.process.end()
            raise

    @staticmethod
    def missing():
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        return None if shutil.which("mosquitto", path=path) else "mosquitto is not installed"

    def end(self):
        self.process.end()


def runnable_models(place):
    """Starts the daemon in each event model. Returns those that run, and why the others do not."""
    found, refused = [], {}
    for model in MODELS:
        subject = Daemon(place, model)
        try:
            subject.start(free_port(), 0)
            found.append(model)
        except Failed as why:
            refused[model] = str(why)
        finally:
            subject.end()
    return found, refused
