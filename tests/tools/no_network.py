"""A folder to put first in the import path, so that a process and its children have no network.

Any try to look up a host or to connect to one is noted in a file, then refused.
"""

from pathlib import Path

CODE = """
import socket
import sys

def refuse(event, args):
    looks_up = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
    connects = event in ("socket.connect", "socket.sendto") and args[0].family != socket.AF_UNIX
    if looks_up or connects:
        with open({log!r}, "a") as file:
            file.write(f"{{event}} {{args[1:]}} {{sys.argv}}\\n")
        raise OSError("no network here")

sys.addaudithook(refuse)
"""


def blocked(folder: Path) -> tuple[Path, Path]:
    """The folder, and the file in which tries are noted; it is not there until one is made."""
    log = folder / "tries"
    (folder / "sitecustomize.py").write_text(CODE.format(log=str(log)))
    return folder, log
