"""Real jobs as forks of a process that has imported torch: seconds saved each, and the same launcher, script and files.

A forked process imports the library of the tree under test anew and runs the launcher's file, then the script's, as
the interpreter would. What a fork does not do is `exec`: where the launcher replaces itself by the script, the script
is run in the same process, with the same locks.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from faults.jobs import Job

PRELOADED = ("pyarrow.parquet", "pandas", "pydantic", "jinja2", "yaml")
WITH_MODELS = ("torch", "transformers.models.qwen2.modeling_qwen2", "safetensors.torch")
HUNG_S = 600.0  # a first job with DeepSpeed compiles an extension, which takes minutes on a busy machine
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}


def preload(models: bool) -> None:
    """Import what takes long to import, and nothing of the library.

    Args:
        models: whether models will be run.
    """
    for module in (*PRELOADED, *(WITH_MODELS if models else ())):
        importlib.import_module(module)


@dataclass(frozen=True)
class Moment:
    """When something happens to a process, once: before a call that changes files, or when it imports a module.

    Attributes:
        change: number of the call that changes files, from 0; None: any.
        part: a part of the call; None: any call, if it has that number.
        module: the import; None: no import.
        number: the signal that the process sends to itself: SIGKILL, or SIGSTOP to be continued by the test.
    """

    change: int | None = None
    part: str | None = None
    module: str | None = None
    number: int = signal.SIGKILL


class Watch:
    """An audit hook that lists the calls that change files, and sends a signal before one of them."""

    def __init__(self, record: Path, moment: Moment | None) -> None:
        self.moment, self.count = moment, 0
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fsync = os.fsync  # raises no audit event
        os.fsync = lambda file: (self.changes(f"os.fsync {file}"), fsync(file))[1]  # type: ignore[assignment,func-returns-value]
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else (flags or 0) & WRITING
            if writes and not isinstance(path, int) and not str(path).startswith(("/dev/", "/proc/")):
                self.changes(f"open {path}")
        elif event in CHANGES:
            self.changes(f"{event} {arguments[0]}")
        elif event == "import" and self.moment is not None and arguments[0] == self.moment.module:
            self.happen()

    def changes(self, call: str) -> None:
        """Record a call; send the signal if it is the chosen one."""
        os.write(self.record, f"{call}\n".encode())
        moment, number = self.moment, self.count
        self.count += 1
        if moment is not None and (number == moment.change or (moment.part is not None and moment.part in call)):
            self.happen()

    def happen(self) -> None:
        """Send the signal to this process."""
        assert self.moment is not None
        number, self.moment = self.moment.number, None
        os.kill(os.getpid(), number)


class Replaced(BaseException):
    """The launcher calls exec, with this command."""

    def __init__(self, _file: str, command: list[str]) -> None:
        super().__init__()
        self.command = command


def _replace(file: str, command: list[str]) -> NoReturn:
    raise Replaced(file, command)


def fork(work: Callable[[], int]) -> int:
    """Fork a process that leads a group of its own and ends with the status that ``work`` returns; return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def use_tree(tree: Path) -> None:
    """Import the library from a tree from here on."""
    for name in [name for name in sys.modules if name.split(".")[0] == "astarpo"]:
        del sys.modules[name]
    scripts = str(tree / "workflow_scripts")
    sys.path[:] = [scripts, *(path for path in sys.path if not path.endswith("workflow_scripts"))]
    importlib.invalidate_caches()


def _run_file(tree: Path, command: list[str]) -> int:
    """Run a file as the interpreter would; return the exit status."""
    use_tree(tree)
    sys.argv = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Replaced:
        raise
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _launch(job: Job, folder: Path, tree: Path, record: Path, moment: Moment | None) -> int:
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    for text in (sys.stdout, sys.stderr):
        text.reconfigure(write_through=True)  # type: ignore[union-attr]
    execvp = os.execvp
    os.execvp = _replace  # type: ignore[assignment]
    Watch(record, moment)
    try:
        return _run_file(tree, [str(tree / "workflow_scripts/launch.py"), *job.command])
    except Replaced as replaced:
        if replaced.command[2] == "-m":  # torchrun
            execvp(replaced.command[0], replaced.command)
        return _run_file(tree, replaced.command[2:])


@dataclass
class Ended:
    """How a job ended: exit status (negative: the signal), what it logged, the calls that changed files, seconds."""

    status: int
    output: str
    changes: list[str]
    seconds: float


class Running:
    """A job that runs.

    Args:
        job: to be started.
        folder: the project.
        tree: the repository whose launcher and scripts run.
        moment: when the process gets a signal; None: never.
    """

    def __init__(self, job: Job, folder: Path, tree: Path, moment: Moment | None = None) -> None:
        self.job, self.folder = job, folder
        handle, name = tempfile.mkstemp()  # not in the project, whose disk may be full
        os.close(handle)
        self.record = Path(name)
        self.started = time.monotonic()
        self.status: int | None = None
        self.pid = fork(lambda: _launch(job, folder, tree, self.record, moment))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: TracebackType | None) -> None:
        self.kill()
        self.record.unlink()

    def wait(self, stopped: bool = False) -> bool:
        """Wait for the end, or until the process has stopped itself; return whether it has ended."""
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                if stopped:
                    return False
            elif pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - self.started > HUNG_S:
                self.kill()
                raise TimeoutError(f"{self.job.name} has not ended within {HUNG_S:.0f} s")
            else:
                time.sleep(0.005)
        return True

    def end(self) -> Ended:
        """Wait for the end and return how it was."""
        self.wait()
        assert self.status is not None
        seconds = time.monotonic() - self.started
        log = self.folder / self.job.log
        output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return Ended(self.status, output, self.record.read_text().splitlines(), seconds)

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the process or to its group."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def kill(self) -> None:
        """Kill the whole group, and wait for the process."""
        self.signal(signal.SIGKILL, group=True)
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
