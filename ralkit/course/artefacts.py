"""What was trained or measured, kept in a folder: asked for by name and inputs, read if it is there, else made."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from .. import __version__, distributed, store
from ..errors import RalkitError
from ..training import History
from .project import commit_of


class Artefacts:
    """The artefacts in `folder`. A file's name carries a hash of its inputs, so nothing stale is ever read.

    Processes that share a folder make each artefact once: the others wait for it, and say so. Under torchrun the ranks
    make it together, and rank 0 writes it.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @staticmethod
    def key(name: str, inputs: tuple) -> str:
        """The hash of an artefact: of its name, of its inputs (configurations, numbers, keys of other artefacts)."""
        return store.key(name, *inputs)

    @staticmethod
    def file_name(name: str, inputs: tuple, suffix: str = ".pt") -> str:
        """The name of an artefact's file."""
        return f"{name.replace(' ', '-')}-{Artefacts.key(name, inputs)}{suffix}"

    def path(self, name: str, inputs: tuple, suffix: str = ".pt") -> Path:
        """The artefact's file, there or not."""
        return self.folder / self.file_name(name, inputs, suffix)

    def is_stored(self, name: str, inputs: tuple) -> bool:
        """Whether `get` would read and not make."""
        return self.path(name, inputs).exists()

    def get(self, name: str, inputs: tuple, make: Callable[[Path], Any]) -> Any:
        """The content of an artefact: read, or made by `make(checkpoint)` and written, with the commit that made it.

        `checkpoint` is the path at which a long stage may save itself; it is removed when the artefact is whole. Raises
        RalkitError if a number of the content is not finite, and then nothing is written.
        """
        path = self.path(name, inputs)
        with self.made_once(path, name) as is_there:
            if not is_there:
                checkpoint = path.with_suffix(".checkpoint")
                content = make(checkpoint)
                refuse_not_finite(name, content)
                if distributed.rank() == 0:
                    made = {"commit": commit_of(), "ralkit": __version__, "torch": str(torch.__version__)}
                    store.write(path, {"content": content, "made": made})
                    checkpoint.unlink(missing_ok=True)
        return _content(path)

    def fit(
        self, name: str, inputs: tuple, modules: dict[str, nn.Module], train: Callable[[Path], History]
    ) -> tuple[History, set[str]]:
        """Give `modules` their trained weights, from the artefact or by `train(checkpoint)`.

        Returns the history, and the names of those modules that have weights: a frozen run may lack its critic.
        """

        def make(checkpoint: Path) -> dict[str, Any]:
            history = train(checkpoint)
            return {"states": {k: m.state_dict() for k, m in modules.items()}, "history": history}

        content = self.get(name, inputs, make)
        for key, state in content["states"].items():
            modules[key].load_state_dict(state)
            modules[key].eval()
        return content["history"], set(content["states"])

    def rows(self, name: str, inputs: tuple, parts: Iterable[Tensor], width: int) -> Tensor:
        """Codes (N, width), int16, read from the disk as they are used; written from `parts` (n, width) at first."""
        path = self.path(name, inputs, ".int16")
        with self.made_once(path, name) as is_there:
            if not is_there and distributed.rank() == 0:
                store.write_rows(path, parts)
        return store.read_rows(path, width)

    @contextmanager
    def made_once(self, path: Path, name: str) -> Iterator[bool]:
        """Hold the artefact's lock unless it is there already; yield whether it is there."""
        if distributed.broadcast(path.exists()):
            yield True
            return
        lock = FileLock(self.folder / ".locks" / f"{path.name}.lock")
        if distributed.rank() == 0:
            self._acquire(lock, name)
        try:
            yield distributed.broadcast(path.exists())
            distributed.broadcast(None)  # the others wait here until rank 0 has written
        finally:
            lock.release()

    def _acquire(self, lock: FileLock, name: str) -> None:
        try:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(f"{name}: another process is making it; this one waits for it", flush=True)
                lock.acquire()
        except OSError as error:
            raise RalkitError(
                f"cannot write {self.folder}: {error.strerror}; make it a folder that can be written to"
            ) from error


def _content(path: Path) -> Any:
    artefact = store.read(path)
    if not isinstance(artefact, dict) or set(artefact) != {"content", "made"}:
        raise RalkitError(f"{path} is no artefact of ralkit; delete it and run the same command again")
    return artefact["content"]


def refuse_not_finite(name: str, content: Any, where: str = "") -> None:
    """Raise RalkitError, naming the place, if a tensor or float inside `content` is nan or infinite."""
    if isinstance(content, dict):
        for key, value in content.items():
            refuse_not_finite(name, value, f"{where}/{key}")
    elif isinstance(content, (list, tuple)):
        for value in content:
            refuse_not_finite(name, value, where)
    elif isinstance(content, Tensor):
        if not content.isfinite().all():
            raise RalkitError(f"{name}: {where.strip('/')} is not finite; nothing was stored, lower the learning rate")
    elif isinstance(content, float) and not abs(content) < float("inf"):
        raise RalkitError(f"{name}: {where.strip('/')} is {content}; nothing was stored, lower the learning rate")
