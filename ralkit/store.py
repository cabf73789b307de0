"""Files that are whole or absent: written beside their place, flushed, renamed; read only if their digest holds."""

import errno
import hashlib
import io
import json
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import RalkitError

DIGEST = hashlib.sha256().digest_size


def write_bytes(path: Path, data: bytes) -> None:
    """Put data at path in one move; raises RalkitError, leaving what was there, if the disk is full or not writable."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise RalkitError(
            f"cannot write {path} ({len(data) / 2**20:.1f} MiB): {why}; make room or change the folder, then run "
            "the same command again to continue"
        ) from error


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
        raise RalkitError(f"{path} is damaged (its digest does not match); delete it and run the same command again")
    return torch.load(io.BytesIO(data[:-DIGEST]), map_location="cpu", weights_only=True)


def key(*what: Any) -> str:
    """A short hash of configurations (dataclasses, dicts, numbers, strings): equal exactly if they are equal."""
    plain = [asdict(w) if is_dataclass(w) else w for w in what]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
