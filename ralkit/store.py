"""Files that are whole or absent: written beside their place, flushed, renamed; read only if their digest holds."""

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import RalkitError

DIGEST = hashlib.sha256().digest_size
DAMAGED = "{} is damaged (its digest does not match); delete it and run the same command again"


def write_bytes(path: Path, data: bytes) -> None:
    """Put data at path in one move; raises RalkitError, leaving what was there, if the disk is full or not writable."""
    write_parts(path, [data])


def write_parts(path: Path, data: Iterable[bytes]) -> None:
    """`write_bytes` of data that is made as it is written, a part at a time."""
    path, size = Path(path), 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            for part in data:
                size += len(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise RalkitError(
            f"cannot write {path} ({size / 2**20:.1f} MiB so far): {why}; make room or change the folder, then run "
            "the same command again to continue"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: Path, content: Any) -> None:
    """Save tensors, numbers, strings, lists and dicts, followed by the SHA-256 digest of the file."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getvalue()
    write_bytes(path, data + hashlib.sha256(data).digest())


def read(path: Path) -> Any:
    """Load what `write` saved, onto the CPU; raises RalkitError naming the file if a byte of it is lost or changed."""
    data = Path(path).read_bytes()
    if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
        raise RalkitError(DAMAGED.format(path))
    return torch.load(io.BytesIO(data[:-DIGEST]), map_location="cpu", weights_only=True)


def write_rows(path: Path, parts: Iterable[Tensor]) -> None:
    """Save whole numbers below 2^15, which come in parts (n, width), as int16 and followed by their digest."""
    digest = hashlib.sha256()

    def data() -> Iterator[bytes]:
        for part in parts:
            rows = part.to("cpu", torch.int16).numpy().tobytes()
            digest.update(rows)
            yield rows
        yield digest.digest()

    write_parts(path, data())


def read_rows(path: Path, width: int) -> Tensor:
    """What `write_rows` saved, int16 (N, width), read from the disk as it is used; raises RalkitError as `read`."""
    n, digest = Path(path).stat().st_size - DIGEST, hashlib.sha256()
    with open(path, "rb") as file:
        for start in range(0, n, 2**24):
            digest.update(file.read(min(2**24, n - start)))
        if n <= 0 or n % (2 * width) or digest.digest() != file.read():
            raise RalkitError(DAMAGED.format(path))
    return torch.from_file(str(path), shared=False, size=n // 2, dtype=torch.int16).unflatten(0, (-1, width))


def key(*what: Any) -> str:
    """A short hash of configurations (dataclasses, dicts, numbers, strings): equal exactly if they are equal."""
    plain = [asdict(w) if is_dataclass(w) else w for w in what]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
