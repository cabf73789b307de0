"""Notebooks, run headless: saved cell by cell, their prints shown as they come, no process left behind."""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from .. import store
from ..errors import RalkitError
from .signals import postponed
from .webpage import write_html

GRACE = 3.0  # seconds that a kernel's processes have to clean up after SIGTERM


def run_side_by_side(runs: Mapping[str, Callable[[], None]], workers: int) -> Iterator[tuple[str, float]]:
    """Call some runs of notebooks, `workers` at a time; yield the name and the minutes of each that ends.

    The first that fails, or a signal, ends all.
    """
    Client.ending.clear()

    def timed(name: str) -> tuple[str, float]:
        began = time.monotonic()
        runs[name]()
        return name, (time.monotonic() - began) / 60

    if min(workers, len(runs)) < 2:  # in this thread, which hears signals itself
        yield from map(timed, runs)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done in as_completed([pool.submit(timed, name) for name in runs]):
                yield done.result()
        except BaseException:
            Client.ending.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for client in list(Client.at_work):
                client.terminate()
            raise


def run_notebook(source: Path, target: Path, parameters: dict[str, Any], threads: int | None = None) -> None:
    """Execute the notebook `source` by papermill, in its own folder; write it to `target`, and as a page beside it.

    Both are of the last run that came to its end. Another run is left, as far as it came, in <name>.failed.ipynb. Its
    kernel has so many `threads` (default: as many as torch takes), and what it prints is then told by its number.
    Raises RalkitError that names the cell if the cell fails or the kernel dies, RalkitError if a file cannot be
    written, and Ended if a signal asked to end.
    """
    try:
        notebook = nbformat.read(source, 4)
    except (OSError, ValueError) as error:
        raise RalkitError(f"{source} cannot be read as a notebook: {str(error).splitlines()[0]}") from error
    known = list(papermill.inspect_notebook(notebook))
    if unknown := [name for name in parameters if name not in known]:
        raise RalkitError(f"{source.name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    # papermill is given no path: it would take braces in one for parameters. The engine saves.
    executed = papermill.execute_notebook(
        notebook, None, parameters, engine_name="ralkit", kernel_name="python3", language="python",
        progress_bar=False, source=source, failed=failed, threads=threads,
    )  # fmt: skip
    save(executed, target)
    failed.unlink(missing_ok=True)
    write_html(target, target.with_suffix(".html"))


class Engine(papermill.engines.Engine):
    """papermill's engine of the course: it saves after each cell, names what fails, and leaves no process behind."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, source: Path, failed: Path, threads: int | None, **_: Any
    ) -> None:
        """Execute the cells of `nb_man.nb` in the folder of `source`, saving it to `failed` on the way."""
        notebook, so_far = nb_man.nb, f"(the notebook as far as it came: {failed})"
        notebook.metadata.papermill.input_path = source.name  # papermill has the whole notebook there
        save(notebook, failed)  # a folder that cannot be written is reported before anything runs
        client = Client(notebook, kernel_name=kernel_name, startup_timeout=180, iopub_timeout=600)
        client.threads, client.label = threads, "" if threads is None else f"{source.name[:2]}: "
        with postponed(client.terminate) as arrived, client.running(source):
            for index, cell in enumerate(notebook.cells):
                if arrived:
                    break
                try:
                    client.execute_cell(cell, index)
                except CellExecutionError as error:
                    where = f"{source.name}, cell {client.code_cells_executed}"
                    raise RalkitError(f"{where}: {error.ename}: {error.evalue} {so_far}") from error
                except DeadKernelError as error:
                    where = f"{source.name}, cell {client.code_cells_executed}"
                    raise RalkitError(
                        f"{where}: the kernel died ({client.cause_of_death()}), most often because the memory ran "
                        f"out; close other programs or use a smaller preset, then run the same command again {so_far}"
                    ) from error
                finally:
                    save(notebook, failed)
            client.set_widgets_metadata()


papermill.engines.papermill_engines.register("ralkit", Engine)


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook; what a cell printed and UTF-8 does not have is escaped as JSON has it."""
    store.write_bytes(path, nbformat.writes(notebook).encode(errors="backslashreplace"))


def say(text: str, end: str = "\n") -> None:
    """Print at once; RalkitError if it cannot be written, as when the output goes to a file on a full disk."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as error:
        with suppress(OSError):  # what is left in the buffer would fail again when Python exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RalkitError(f"cannot write the command's output: {error.strerror}; run the same command again") from error


class Client(NotebookClient):
    """nbclient's client, which shows what cells print, and ends the kernel with every process that it started."""

    at_work: ClassVar[set["Client"]] = set()
    ending: ClassVar[threading.Event] = threading.Event()  # a kernel that starts now is to end at once
    group: int | None = None  # the process group of the kernel, and so of the training processes that it starts
    threads: int | None = None
    label = ""  # what stands before each line that is shown
    unfinished = ""  # the part of a line that has come so far

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Handle a kernel's message as nbclient does; print what went to standard output, and how far trainings are."""
        content = msg["content"]
        if msg["msg_type"] == "stream" and content["name"] == "stdout":
            self._show(content["text"])
        elif line := (content.get("transient") or {}).get("line"):  # of `progress`
            self._show(f"{line}\n")
        return super().process_message(msg, cell, cell_index)

    def _show(self, text: str) -> None:
        """Print what comes at once, or whole lines with the label, where other notebooks run beside this one."""
        if not self.label:
            say(text, end="")
            return
        *lines, self.unfinished = (self.unfinished + text).split("\n")
        for line in lines:
            say(f"{self.label}{line}")

    @contextmanager
    def running(self, source: Path) -> Iterator[None]:
        """Start a kernel in the folder of `source`; when the block ends it is gone, and what it started, too."""
        try:
            self._start(source)
            self.at_work.add(self)
            if self.ending.is_set():
                self.terminate()
            with self.setup_kernel():
                yield
        finally:
            self.at_work.discard(self)
            if self.terminate():
                deadline = time.monotonic() + GRACE
                while self._signal(0) and time.monotonic() < deadline:
                    time.sleep(0.05)
                self._signal(signal.SIGKILL)

    def _start(self, source: Path) -> None:
        complaint: list[str] = []
        try:
            with tempfile.TemporaryFile() as stderr:  # not our own, where a kernel that is ended would complain
                try:
                    self.create_kernel_manager()
                    own = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
                    self.start_new_kernel(cwd=str(source.parent), stderr=stderr, env=os.environ | own)
                    self.group = self.km.provisioner.pgid
                    self.start_new_kernel_client()
                    reply = self.wait_for_reply(self.kc.kernel_info())
                except RuntimeError:
                    stderr.seek(0)
                    complaint = stderr.read().decode(errors="replace").strip().splitlines()[-1:]
                    raise
        except (OSError, RuntimeError, NoSuchKernel) as error:
            why = "; ".join([str(error), *complaint])
            raise RalkitError(f"{source.name}: no Python kernel could be started: {why}") from error
        self.nb.metadata["language_info"] = reply["content"]["language_info"]

    def terminate(self) -> bool:
        """Ask the kernel and every process that it started to end; False if none is left."""
        return self._signal(signal.SIGTERM)

    def cause_of_death(self) -> str:
        """How the process of a dead kernel ended, such as "SIGKILL" or "exit status 1"."""
        status = self.km.provisioner.process.returncode
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def _signal(self, signum: int) -> bool:
        if self.group is None:
            return False
        try:
            os.killpg(self.group, signum)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of processes that have just ended
            return False
        return True
