"""Files that are whole or absent: written beside their place, flushed, renamed; read only if their digest holds."""

import errno
import glob
import hashlib
import io
import json
import lzma
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import RalkitError

DIGEST = hashlib.sha256().digest_size
XZ = b"\xfd7zXZ\0"  # how a compressed file begins
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lp": 1, "pb": 1}]  # most of it are float16, of two bytes each
DAMAGED = "{} is damaged (its digest does not match); delete it and run the same command again"
WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EISDIR: "a folder lies in its place",
    errno.EEXIST: "a file lies in the place of its folder",
    errno.ENOTDIR: "a file lies in the place of its folder",
}


def _why(error: OSError) -> str:
    return WHY.get(error.errno, error.strerror or str(error))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is somebody else's
        return True
    return True


def temporary_name(path: Path) -> Path:
    """Where this process writes a file before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote the file at `path` have left of it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = leftover.name.split(".")[-2]
        if pid.isdigit() and not _is_running(int(pid)):
            leftover.unlink(missing_ok=True)


class _NewFile:
    """A file that takes the place of `path` when its `with` block ends well; what is written to it is hashed.

    Raises RalkitError, leaving what was at `path`, if the disk is full or not writable.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.temporary = temporary_name(self.path)
        self.digest, self.size = hashlib.sha256(), 0
        self.failure: RalkitError | None = None

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = RalkitError(
                f"cannot write {self.path} ({self.size / 2**20:.1f} MiB so far): {_why(error)}; make room or change "
                "the folder, then run the same command again to continue"
            )
            raise self.failure from error

    def __enter__(self) -> "_NewFile":
        with self._disk():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            self.file = open(self.temporary, "wb")
        return self

    def write(self, part: bytes | bytearray | memoryview) -> int:
        with self._disk():
            n = self.file.write(part)
        self.digest.update(part)
        self.size += n
        return n

    def flush(self) -> None:
        with self._disk():
            self.file.flush()

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: Any) -> None:
        try:
            if error is None:
                with self._disk(), self.file:
                    self.file.flush()
                    os.fsync(self.file.fileno())
                with self._disk():
                    os.replace(self.temporary, self.path)
            elif self.failure is not None:  # torch.save turns the error of a write into one that says nothing of it
                raise self.failure
        finally:
            with suppress(OSError):
                self.file.close()
            with suppress(OSError):
                self.temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Put data at path in one move; raises RalkitError, leaving what was there, if the disk is full or not writable."""
    with _NewFile(path) as file:
        file.write(data)


def write(path: Path, content: Any, *, compressed: bool = False) -> None:
    """Save tensors, numbers, strings, lists and dicts, followed by the SHA-256 digest of the file.

    The file is hashed as it is written, so no copy of the content is made. What is `compressed` takes a quarter less
    room and a hundred times as long. Raises RalkitError as `write_bytes`.
    """
    with _NewFile(path) as file:
        with lzma.open(file, "wb", filters=FILTERS) if compressed else nullcontext(file) as body:
            torch.save(content, body)
        file.write(file.digest.digest())


class _Body(io.RawIOBase):
    """The first `size` bytes of a file: all but the digest at its end."""

    def __init__(self, file: io.BufferedReader, size: int):
        self.source, self.size = file, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.source.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.source.seek(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        return self.source.readinto(view[: max(0, self.size - self.tell())])


@contextmanager
def _verified(path: Path) -> Iterator[_Body]:
    """The body of the file at `path`, opened, after its digest was found to hold."""
    try:
        with open(path, "rb") as file:
            body = _Body(file, os.fstat(file.fileno()).st_size - DIGEST)
            if body.size <= 0 or hashlib.file_digest(body, "sha256").digest() != file.read():
                raise RalkitError(DAMAGED.format(path))
            body.seek(0)
            yield body
    except OSError as error:
        raise RalkitError(f"cannot read {path}: {_why(error)}; mend that, then run the same command again") from error


def read(path: Path) -> Any:
    """Load what `write` saved, onto the CPU.

    Raises RalkitError naming the file if it cannot be read, if a byte of it is lost or changed, and if it is whole but
    not what `write` makes; nothing of it is unpickled before its digest is known to hold.
    """
    with _verified(path) as body:
        try:
            compressed = body.read(len(XZ)) == XZ
            body.seek(0)
            if compressed:
                with lzma.open(body) as packed:
                    return torch.load(io.BytesIO(packed.read()), map_location="cpu", weights_only=True)
            return torch.load(body, map_location="cpu", weights_only=True)
        except Exception as error:  # what a file of another kind raises depends on the kind
            if isinstance(error, OSError | MemoryError) or "allocate memory" in str(error):
                raise
            raise RalkitError(
                f"{path} is whole, but it is a file of another kind; move it away and run the same command again"
            ) from error


def digest(path: Path) -> str:
    """The first 12 digits of the digest that ends a file of `write`; RalkitError if there is none to read."""
    try:
        with open(path, "rb") as file:
            file.seek(-DIGEST, os.SEEK_END)
            return file.read().hex()[:12]
    except OSError as error:
        raise RalkitError(f"cannot read {path}: {_why(error)}; mend that, then run the same command again") from error


def write_rows(path: Path, parts: Iterable[Tensor]) -> None:
    """Save whole numbers below 2^15, which come in parts (n, width), as int16 and followed by their digest."""
    with _NewFile(path) as file:
        for part in parts:
            if part.numel():
                data = bytearray(2 * part.numel())
                torch.frombuffer(data, dtype=torch.int16).copy_(part.flatten())
                file.write(data)
        file.write(file.digest.digest())


def read_rows(path: Path, width: int) -> Tensor:
    """What `write_rows` saved, int16 (N, width), read from the disk as it is used; raises RalkitError as `read`."""
    with _verified(path) as body:
        if body.size % (2 * width):
            raise RalkitError(DAMAGED.format(path))
        return torch.from_file(str(path), shared=False, size=body.size // 2, dtype=torch.int16).unflatten(
            0, (-1, width)
        )


def _plain(x: Any) -> Any:
    """x as JSON can write it, so that equal things are written alike: 1 as 1.0, a tuple as a list."""
    if is_dataclass(x):
        x = {f.name: getattr(x, f.name) for f in fields(x)}
    if isinstance(x, dict):
        return {json.dumps(_plain(k)): _plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(v) for v in x]
    return int(x) if isinstance(x, float) and x.is_integer() else x


def key(*what: Any) -> str:
    """A short hash of configurations (dataclasses, dicts, lists, numbers, strings): equal exactly if they are equal.

    1 and 1.0 are equal, and so are a tuple and a list of the same; True is not 1.
    """
    return hashlib.sha256(json.dumps(_plain(what), sort_keys=True).encode()).hexdigest()[:12]
