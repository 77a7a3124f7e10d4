"""A real Slurm of two nodes on this machine, for as long as a test takes.

Debian's daemons, with their own munge key, ports and folders. Only `slurm.conf` and `gres.conf` of `/etc/slurm` lie
outside: the Snakemake plugin hands no other place on to its jobs. A file that is there is never touched; ours go when
the cluster ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

FOLDER = Path("/etc/slurm")
# Two GPUs in name alone: what asks for one is counted, and finds none.
GPUS = "NodeName=n1,n2 Name=gpu File=/dev/null\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
NODES = ("n1", "n2")
ASKED_BY = "NBHELPERS_TEST_SLURM"
TEMPLATE = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/ctld
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=2 RealMemory=8000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=2 RealMemory=8000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
SlurmdTimeout=10
JobRequeue=1
MinJobAge=7200
"""


def why_not() -> str:
    """Why no cluster can be started here; empty where one can."""
    if not os.environ.get(ASKED_BY):
        return "a step of its own, since it starts system daemons: make test-slurm"
    if os.geteuid() != 0:
        return "starting a Slurm needs root"
    if lacking := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"{', '.join(lacking)} missing: apt-get install --no-install-recommends slurm-wlm munge"
    if there := [str(FOLDER / name) for name in ("slurm.conf", "gres.conf") if (FOLDER / name).exists()]:
        return f"{' and '.join(there)} there already: a machine's own Slurm is left alone"
    return ""


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def ask(*words: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def wait_for(what: str, holds: Callable[[], object], seconds: float) -> None:
    """Wait until something holds, or fail with its name."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)


class Slurm:
    """The running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground, as a child of this process."""
        log = open(self.folder / f"{name}.out", "ab")  # noqa: SIM115  (the daemon's)
        self.daemons[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        self.start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> None:
        """Kill a node as a power cut does: its daemon, and everything that it started."""
        for process in self.processes(name):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.daemons[name].wait()

    def processes(self, name: str) -> list[psutil.Process]:
        """A daemon and all that came of it; its job steps lie in sessions of their own, and are known by their node."""
        found = {p.pid: p for p in psutil.Process(self.daemons[name].pid).children(recursive=True)}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("SLURMD_NODENAME") == name:
                    found[process.pid] = process
                    found |= {p.pid: p for p in process.parents() if p.name().startswith("slurmstepd")}
        return [*found.values(), psutil.Process(self.daemons[name].pid)]

    def nodes(self) -> dict[str, str]:
        """State of each node."""
        return dict(line.split() for line in ask("sinfo", "-hN", "-o", "%N %t").splitlines())

    def jobs(self) -> dict[str, tuple[str, str, str]]:
        """State, node and command (the plugin's comment names the rule) of each job, by its number."""
        lines = ask("squeue", "-h", "-t", "all", "-o", "%i|%T|%N|%k").splitlines()
        return {number: (state, node, comment) for number, state, node, comment in (x.split("|", 3) for x in lines)}

    def running(self, rule: str) -> list[tuple[str, str]]:
        """Number and node of the jobs of a rule that run now."""
        return [(n, node) for n, (state, node, text) in self.jobs().items() if state == "RUNNING" and rule in text]


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Two nodes of two CPUs, idle."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ctld", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    ports = dict(zip(("controller", *NODES), _free_ports(3), strict=True))
    text = TEMPLATE.format(folder=folder, host=socket.gethostname().partition(".")[0], **ports)
    cluster = Slurm(folder)
    written: dict[Path, str] = {}
    try:
        for path, content in {FOLDER / "slurm.conf": text, FOLDER / "gres.conf": GPUS}.items():
            with open(path, "x") as handle:  # fails where one is there
                written[path] = content
                handle.write(content)
        places = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "m.pid", "seed-file": "m.seed"}
        options = [f"--{option}={folder / name}" for option, name in places.items()]
        # --force: the folders of a test are not as munged likes them.
        cluster.start("munged", "munged", "--foreground", "--force", *options)
        wait_for("munged's socket", (folder / "munge.socket").exists, 20)
        cluster.start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            cluster.start_node(name)

        def up() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                return cluster.nodes() == dict.fromkeys(NODES, "idle")
            return False

        wait_for("both nodes idle", up, 60)
        yield cluster
    finally:
        for name in (*NODES, "slurmctld", "munged"):
            if (daemon := cluster.daemons.get(name)) and daemon.poll() is None:
                for process in cluster.processes(name):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                daemon.wait()
        for path, content in written.items():
            if path.is_file() and path.read_text() == content:
                path.unlink()
