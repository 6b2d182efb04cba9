"""A real Slurm of one node for tests: munged, slurmctld and slurmd, all in a folder of their own.

Needs Debian's packages slurm-wlm and munge, and root, since slurmd and munged change users.
`python -m tests.tools.slurm_node COMMAND…` starts it, runs a command with it, and ends it.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PARTITION = "test"
CONFIGURATION = """
ClusterName=pks4
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName={partition} Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no Slurm can be started here; empty where it can."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f"no {lacking[0]} here: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd and munged need root"


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A running cluster, as the environment variables that lead to it."""
    with tempfile.TemporaryDirectory(prefix="pks4-slurm-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = f"{os.environ['PATH']}:/usr/sbin"
        environment = {"SLURM_CONF": str(_configured(folder)), "PATH": path}
        started: list[subprocess.Popen] = []
        try:
            started.append(_munged(folder))
            _until(lambda: (folder / "munge" / "socket").exists(), folder, started)
            for daemon in ("slurmctld", "slurmd"):
                started.append(_daemon([daemon, "-D"], folder / f"{daemon}.out", environment))
            _until(lambda: _is_idle(environment), folder, started)
            yield environment
        finally:
            for process in reversed(started):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=15)
                process.kill()
                process.wait()


def _configured(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(
        folder=folder, host=socket.gethostname().split(".")[0], ports=_free_ports(2),
        cpus=os.cpu_count(), partition=PARTITION,
    )  # fmt: skip
    path = folder / "slurm.conf"
    path.write_text(text)
    return path


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _munged(folder: Path) -> subprocess.Popen:
    """munged with a key of its own, as the user that its package made."""
    place, user = folder / "munge", pwd.getpwnam("munge")
    place.mkdir()
    key = place / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for path in (place, key):
        os.chown(path, user.pw_uid, user.pw_gid)
    place.chmod(0o755)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log",
             "seed-file": "seed"}  # fmt: skip
    options = [f"--{option}={place / name}" for option, name in files.items()]
    return _daemon(["munged", "--foreground", *options], folder / "munged.out", {}, user="munge")


def _daemon(
    command: list[str], log: Path, environment: dict[str, str], **more: str
) -> subprocess.Popen:
    path = environment.get("PATH", f"{os.environ['PATH']}:/usr/sbin")
    with log.open("wb") as file:
        return subprocess.Popen(
            [shutil.which(command[0], path=path) or command[0], *command[1:]],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            env={**os.environ, **environment}, **more,
        )  # fmt: skip


def _is_idle(environment: dict[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format", "%T"], capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout.strip() == "idle"


def _until(ready, folder: Path, started: list[subprocess.Popen]) -> None:
    """Wait for it; raise with what the daemons logged if one ends, or after a minute."""
    for _ in range(300):
        if ready():
            return
        if any(process.poll() is not None for process in started):
            break
        time.sleep(0.2)
    logs = [*folder.glob("*.log"), *folder.glob("*.out"), *folder.glob("munge/log")]
    told = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs)
    raise RuntimeError(f"Slurm does not come up\n{told}")


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    with cluster() as leads:
        code = subprocess.run(sys.argv[1:], env={**os.environ, **leads}).returncode
    sys.exit(code)
