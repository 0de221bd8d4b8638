"""The services of docker-compose.yaml as processes of this machine, with the environment that the file gives them.

Debian's PostgreSQL and Redis, an S3 stand-in in place of SeaweedFS, and Airflow's containers one process each. Only
addresses and folders are others: a service's name becomes 127.0.0.1 with a free port. What ends by itself is started
again, as Docker does it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.cluster.secrets import write
from include.settings import PROJECT
from tests.standins.s3 import S3StandIn
from tests.standins.serving import free_port

READ_ONLY = [
    *("unshare", "--mount", "sh", "-c"),
    'mount --make-rprivate / && mount --bind /tmp /tmp && mount -o remount,bind,ro / && exec "$@"',
    "sh",
]
"""Runs a command as in a container whose file system is read-only; /tmp has all that the containers mount."""
CADDY = """{
	skip_install_trust
	http_port %(http)d
	https_port %(https)d
"""
"""What the global options of the Caddyfile begin with, for ports that anybody may open."""
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "worker-cpu")
SECONDS = 120
"""For a service to be up."""


def missing() -> str:
    """What this machine lacks to be a cluster; empty if nothing."""
    programs = {"postgresql": postgres_program("initdb"), "redis-server": shutil.which("redis-server")}
    programs["docker-compose"] = shutil.which("docker-compose")
    return ", ".join(name for name, path in programs.items() if not path)


def postgres_program(name: str) -> str | None:
    """Debian keeps them beside the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def can_run(command: list[str]) -> bool:
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True, check=False).returncode


def packages() -> Path:
    """A folder with what the images have and this environment has not, at the versions that the images have."""
    here = {_plain(one.name) for one in importlib.metadata.distributions()}
    pins = [line for line in (PROJECT / "constraints.txt").read_text().split() if "==" in line]
    wanted = [pin for pin in pins if _plain(pin.partition("==")[0]) not in here]
    name = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]
    folder = Path(sys.prefix).parent / "cache" / f"cluster-{name}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(f".{os.getpid()}")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "--target", str(unfinished), *wanted], check=True)
        with contextlib.suppress(OSError):
            unfinished.rename(folder)
    return folder


def _plain(name: str) -> str:
    """A package's name as packages are compared."""
    return re.sub(r"[-_.]+", "-", name.lower())


@dataclass
class Cluster:
    """One installation.

    :param root: everything that it writes.
    :param settings: lines of ``.env`` beside the secrets.
    :param instead: variables that the file sets, and that are others here.
    """

    root: Path
    settings: Mapping[str, str]
    instead: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in ("postgres", "redis", "moto", "api-server", "http", "https")}
        self.store = S3StandIn(self.ports["moto"])
        self.service_of: dict[str, str] = {}
        self.restarted: list[str] = []
        """Services that had ended by themselves, or were killed."""
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self.packages = packages()
        self.read_only = READ_ONLY if can_run([*READ_ONLY, "true"]) else []
        """A command that cannot write into the machine's file system begins with it; empty where that needs root."""
        # Beside the root, whose folders PostgreSQL's user may not look into.
        self.database = Path(tempfile.mkdtemp(prefix="podsearch-postgres-"))
        for name in ("airflow", "state", "models", "logs"):
            (self.root / name).mkdir()
        env = self.root / ".env"
        env.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))
        write(env)
        shutil.copy(PROJECT / "docker-compose.yaml", self.root)
        config = subprocess.run(
            ["docker-compose", "--project-directory", str(self.root), "--env-file", str(env), "config"],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root)},
            capture_output=True,
            text=True,
            check=True,
        )
        self.services = yaml.safe_load(config.stdout)["services"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api-server']}"

    def environment(self, service: str) -> dict[str, str]:
        """What the compose file gives a service, with this machine's addresses and folders."""
        moved = {
            "@postgres/": f"@127.0.0.1:{self.ports['postgres']}/",
            "@redis:6379/": f"@127.0.0.1:{self.ports['redis']}/",
            "http://store:8333": self.store.url,
            "http://api-server:8080": self.url,
            "http://localhost:8080": self.url,
            "/opt/podsearch": str(PROJECT),
            "/opt/airflow": str(self.root / "airflow"),
            "/var/lib/podsearch": str(self.root / "state"),
            "/var/lib/models": str(self.root / "models"),
        }
        given = {key: str(value) for key, value in (self.services[service].get("environment") or {}).items()}
        for key, value in given.items():
            for old, new in moved.items():
                value = value.replace(old, new)
            given[key] = value.replace("$$", "$")
        own = ("PODSEARCH_", "AIRFLOW_", "AWS_")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        return clean | given | self._own_ports(service) | dict(self.instead)

    def _own_ports(self, service: str) -> dict[str, str]:
        """Containers have all ports to themselves; these processes share a machine."""
        return {
            "HOME": str(self.root / "airflow"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(self.packages), str(PROJECT)]),
            "PODSEARCH_HOST": "127.0.0.1",
            "PODSEARCH_PORT": str(self.ports["api-server"]),
            "AIRFLOW__API__PORT": str(self.ports["api-server"]),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }

    def start(self, name: str, service: str = "") -> None:
        """Start a service that is not running.

        :param service: the service, if this is one more of it with a name of its own.
        """
        service = service or name
        if name == "postgres":
            command, environment = self._postgres(), dict(os.environ)
        elif name == "redis":
            command, environment = self._redis(), dict(os.environ)
        elif name == "moto":
            command = [sys.executable, "-c", "from moto.server import main; main()"]
            command += ["-H", "127.0.0.1", "-p", str(self.ports["moto"])]
            environment = dict(os.environ)
        elif name == "proxy":
            command = self._caddy()
            environment = self.environment("proxy") | {"XDG_DATA_HOME": str(self.root)}
        else:
            command = self.services[service]["command"]
            if command[0] == "sh":  # which writes the token of search, and becomes the server
                command = command[-1].rpartition("exec env -u SEARCH_TOKEN ")[2].split()
            program, *arguments = command
            command = [*self.read_only, sys.executable, "-m", program, *arguments]
            environment = self.environment(service)
            if "celery" in arguments:
                command += ["--celery-hostname", f"{name}@cluster", "--pid", str(self.root / f"{name}.pid")]
        with (self.root / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=PROJECT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.service_of[name] = service

    def init(self) -> None:
        """What the container ``init`` does."""
        done = subprocess.run(
            [*self.read_only, sys.executable, "-m", "deploy.cluster"],
            cwd=PROJECT,
            env=self.environment("init"),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        (self.root / "logs" / "init.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr[-3000:]

    def airflow(self, *arguments: str) -> str:
        """Airflow's command line, as in a container."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=self.environment("init"), capture_output=True, text=True, check=True)
        return done.stdout

    def up(self) -> None:
        """Start everything, in the order in which the file lets its services wait for each other."""
        self._open.enter_context(self.store.serve())
        self._open.callback(self._stop_all)
        for name in ("postgres", "redis", "moto"):
            self.start(name)
        for name in ("postgres", "redis", "moto"):
            self.wait(name, partial(_answers, self.ports[name]))
        self.query("CREATE DATABASE airflow", "postgres")
        self.init()
        self.start("api-server")
        self.wait("api-server", lambda: _is_ok(f"{self.url}/api/v2/version"))
        for name in AIRFLOW[1:]:
            self.start(name)
        self._open.enter_context(self._kept_up())

    @contextlib.contextmanager
    def _kept_up(self) -> Iterator[None]:
        """Start again what ends, until the end of the block."""
        over = threading.Event()

        def keep_up() -> None:
            while not over.wait(1):
                with self._lock:
                    ended = [name for name, process in self.processes.items() if process.poll() is not None]
                    for name in ended:
                        self.restarted.append(name)
                        self.start(name, self.service_of.get(name, name))

        thread = threading.Thread(target=keep_up, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait(self, name: str, is_up: Callable[[], bool], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not is_up():
            assert name not in self.processes or self.processes[name].poll() is None, f"{name} ended: {self.log(name)}"
            assert time.monotonic() < deadline, f"{name} is not up after {seconds:.0f} s: {self.log(name)}"
            time.sleep(0.2)

    def log(self, name: str) -> str:
        return (self.root / "logs" / f"{name}.log").read_text(errors="replace")[-3000:]

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a service with all its processes; it stays ended."""
        with self._lock:
            process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def kill(self, name: str) -> None:
        """Kill a service with all its processes, at once; it is started again."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)

    def down(self) -> None:
        self._open.close()
        shutil.rmtree(self.database, ignore_errors=True)

    def _stop_all(self) -> None:
        for name in reversed(list(self.processes)):
            self.stop(name, signal.SIGINT if name == "postgres" else signal.SIGKILL)  # nobody looks at them any more

    def _secret(self, name: str) -> str:
        lines = (self.root / ".env").read_text().splitlines()
        return next(line.partition("=")[2] for line in reversed(lines) if line.startswith(f"{name}="))

    @property
    def admin_password(self) -> str:
        return self._secret("AIRFLOW_ADMIN_PASSWORD")

    def _postgres(self) -> list[str]:
        """PostgreSQL does not run as root: as root it is run by its own user."""
        folder = self.database
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if not (folder / "PG_VERSION").is_file():
            if as_user:
                shutil.chown(folder, "postgres")
            options = ["--username=airflow", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            command = [*as_user, str(postgres_program("initdb")), *options, f"--pgdata={folder}"]
            subprocess.run(command, check=True, capture_output=True)
        settings = ["listen_addresses=127.0.0.1", f"port={self.ports['postgres']}", f"unix_socket_directories={folder}"]
        settings += ["fsync=off", "max_connections=200"]
        return [*as_user, str(postgres_program("postgres")), "-D", str(folder), *(f"--{one}" for one in settings)]

    def _caddy(self) -> list[str]:
        """With the Caddyfile of the service, which certifies itself."""
        text = (PROJECT / "deploy" / "cluster" / "Caddyfile").read_text()
        text = text.replace("{\n", CADDY % self.ports, 1).replace(
            "api-server:8080", f"127.0.0.1:{self.ports['api-server']}"
        )
        file = self.root / "Caddyfile"
        file.write_text(text)
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]

    @property
    def certificate(self) -> Path:
        """Of the authority that Caddy has made for itself."""
        return self.root / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    def _redis(self) -> list[str]:
        """With the command of the file."""
        _, *arguments = self.services["redis"]["command"]
        folder = self.root / "redis"
        folder.mkdir(exist_ok=True)
        here = ["--port", str(self.ports["redis"]), "--bind", "127.0.0.1", "--dir", str(folder)]
        return ["redis-server", *arguments, *here]

    def query(self, statement: str, database: str = "airflow") -> list[str]:
        """What PostgreSQL answers, a row a line."""
        psql = [str(postgres_program("psql")), "--host=127.0.0.1", f"--port={self.ports['postgres']}"]
        command = [*psql, "--username=airflow", f"--dbname={database}", "--tuples-only", "--no-align"]
        done = subprocess.run([*command, f"--command={statement}"], check=True, capture_output=True, text=True)
        return done.stdout.split()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _is_ok(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5, trust_env=False).is_success
    return False
