"""A small process from which tests have the program started.

A copy of a test's own process would do, but it holds six thousand tests: to copy 200 MB for each command took 12 ms of 47.
"""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence

_CODE = struct.Struct("!i")


class Spawner:
    """It is made early, while there is little to copy; it ends with the process that made it. Several threads may ask."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                ours.close()
                _serve(theirs)
            os._exit(0)  # so that it is nobody's child: some tests look for those
        os.waitpid(child, 0)
        theirs.close()
        self._socket = ours

    def run(self, folder: str, arguments: Sequence[str], env: Mapping[str, str], out: int, err: int) -> int:
        """Run `mlos-sync ARGUMENTS` in a folder, with this environment and these files for its output; its exit code."""
        code, told = os.pipe()
        with tempfile.TemporaryFile() as asked, open(code, "rb") as answer, open(told, "wb") as end:
            pickle.dump((folder, list(arguments), dict(env)), asked)
            asked.seek(0)
            socket.send_fds(self._socket, [b"?"], [asked.fileno(), out, err, told])
            end.close()
            said = answer.read(_CODE.size)
        assert said, f"{arguments} was killed"
        return int(_CODE.unpack(said)[0])


def _serve(asker: socket.socket) -> None:
    """Start a child for each question, until nobody can ask any more."""
    for module in pkgutil.walk_packages(importlib.import_module("mlos_sync").__path__, "mlos_sync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    while True:
        asked, files, _, _ = socket.recv_fds(asker, 1, 4)
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            asker.close()
            with open(files[0], "rb") as question:
                _run(*pickle.load(question), *files[1:])
        for one in files:
            os.close(one)


def _run(folder: str, arguments: list[str], env: dict[str, str], out: int, err: int, told: int) -> None:
    """The whole program, in this process, which ends with it and closes nothing."""
    from mlos_sync.cli.main import main

    code: object = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["mlos-sync", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os.write(told, _CODE.pack(code if isinstance(code, int) else 1))
        os._exit(0)


spawner = Spawner()
