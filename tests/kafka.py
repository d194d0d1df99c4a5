"""A real Apache Kafka broker for the tests: its jars taken with Maven once, started in KRaft mode on this machine.

Invariant: the jars are kept whole or not at all, so that a broken download is begun anew; a broker is ended by the
process that was started, never by its name.
"""

import asyncio
import ctypes
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, cimpl
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import KafkaException

from touchline.adapters.kafka.publisher import KafkaPublisher
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.process import Child, Program, ready, start

POM = Path(__file__).parent / "kafka" / "pom.xml"
CLUSTER = "dG91Y2hsaW5lLXRlc3RzIQ"  # sixteen bytes of our own
JAVA_MIN = 17
DOWNLOAD_TIMEOUT_S = 600
READY_TIMEOUT_S = 90
HEAP = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
# One node is broker and controller; groups form and notice a dead member soon, so that a test need not wait long.
CONFIGURATION = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.cleaner.enable=false
num.network.threads=2
num.io.threads=2
background.threads=2
"""


def broker_jars() -> Path:
    """Return the folder of the broker's jars; a test that asks for them skips aloud where they can't be had.

    With REQUIRE_KAFKA in the environment, as in .ci/run, it fails instead.
    """
    lacking = _lacking()
    if lacking:
        if os.environ.get("REQUIRE_KAFKA"):
            pytest.fail(f"REQUIRE_KAFKA is set, and a Kafka broker needs {lacking}")
        pytest.skip(f"a Kafka broker needs {lacking}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "touchline-tests"
    jars = cache / f"kafka-{sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not jars.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            _download(Path(name) / "jars")
            if not jars.exists():  # another run may have been quicker
                (Path(name) / "jars").rename(jars)
    return jars


def _lacking() -> str:
    if shutil.which("mvn") is None:
        return "Maven"
    if shutil.which("java") is None:
        return "Java"
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60).stderr
    version = told.partition('"')[2].partition(".")[0].partition("-")[0]
    return "" if version.isdigit() and int(version) >= JAVA_MIN else f"Java {JAVA_MIN} or newer"


def _download(to: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    options = [f"-DoutputDirectory={to}", "-DincludeScope=runtime"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    if done.returncode:
        pytest.fail(f"Maven could not take the broker's jars:\n{done.stdout}{done.stderr}")


def fail_for_good(publisher: KafkaPublisher) -> None:
    """Have its producer fail as where a message is missing in a row, by what the client's C library has for tests.

    The library knows a producer by the pointer that the client's object begins with.
    """
    assert publisher._producer is not None
    handle = ctypes.c_void_p.from_address(id(publisher._producer) + object.__basicsize__)
    library = ctypes.CDLL(cimpl.__file__)
    assert library.rd_kafka_test_fatal_error(handle, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, b"a test") == 0


@dataclass
class KafkaServer:
    """One broker in `folder`, with what it holds kept from one start to the next."""

    folder: Path
    jars: Path
    port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{LOCALHOST}:{self.port}"

    async def start(self) -> None:
        """Start it, formatted where it is new, and return once it answers."""
        configuration = self.folder / "server.properties"
        if not configuration.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            logs = self.folder / "logs"
            text = CONFIGURATION.format(host=LOCALHOST, port=self.port, controller=free_port(), logs=logs)
            configuration.write_text(text)
            formatting = ("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(configuration))
            child = await start(self._program("format", *formatting))
            assert await child.wait() == 0, (self.folder / "format.log").read_text()
        self.child = await start(self._program("kafka", "kafka.Kafka", str(configuration)))
        await ready(self.child, self._answers, READY_TIMEOUT_S, "see its log")

    async def kill(self) -> None:
        """End it as a crash would."""
        assert self.child is not None
        self.child.process.kill()
        await self.child.wait()

    async def stop(self) -> None:
        """Stop it; what it holds stays."""
        assert self.child is not None
        await self.child.stop()

    def _program(self, name: str, *arguments: str) -> Program:
        command = ("java", *HEAP, "-cp", f"{self.jars}/*", *arguments)
        return Program(name, command, self.folder / f"{name}.log", cwd=self.folder)

    async def _answers(self) -> bool:
        def ask() -> bool:
            try:
                admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
                return bool(admin.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        return await asyncio.to_thread(ask)
