"""Decoded images on the disk, mapped into memory: a set larger than memory can be opened again and trained on.

A cached file is a .npy array, the digest of its pixels (what the set is known by), and a checksum of both. The checksum
is compared whenever the file is opened: a CRC is several times as fast as the digest.
"""

import hashlib
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .. import store
from ..errors import RalkitError
from .decoding import decode
from .sources import shown

FORMAT = 3  # raise it when the same source is to give other pixels, or the cache has another form
DIGEST, CHECKSUM = 16, 4  # bytes
BATCH = 256  # images decoded at a time: what bounds the memory
BLOCK = 2**24  # bytes checked at a time


def open_cache(file: Path, size: int) -> tuple[Tensor, bytes] | None:
    """The cached images, uint8 (N, 3, size, size), read as they are used, and the digest of their pixels.

    None where there is no file; also, and printed, where one byte of it is lost or changed.
    """
    try:
        if not file.is_file():
            return None
        with open(file, "rb") as stored:
            np.lib.format.read_magic(stored)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stored)
            start, pixels = stored.tell(), math.prod(shape)
            fits = dtype == np.uint8 and not fortran and shape[1:] == (3, size, size) and pixels > 0
            if fits and start + pixels + DIGEST + CHECKSUM == file.stat().st_size:
                checksum = _checksum(stored, pixels, file.stem)
                digest = stored.read(DIGEST)
                if stored.read() == _as_bytes(zlib.crc32(digest, checksum)):
                    # Copy on write: the tensor may be written to, the file never is.
                    return torch.from_numpy(np.memmap(stored, np.uint8, "c", start, shape)), digest
    except (ValueError, EOFError, OSError):
        pass
    print(f"{shown(file)} is damaged: it is made again.")
    return None


def _checksum(stored: BinaryIO, n: int, title: str) -> int:
    """The CRC of the next n bytes of a file."""
    checksum = 0
    with tqdm(total=n, desc=f"checking {title}", unit="B", unit_scale=True, leave=False, delay=2) as bar:
        for start in range(0, n, BLOCK):
            block = stored.read(min(BLOCK, n - start))
            checksum = zlib.crc32(block, checksum)
            bar.update(len(block))
    return checksum


def _as_bytes(checksum: int) -> bytes:
    return checksum.to_bytes(CHECKSUM, "little")


def fill_cache(file: Path, title: str, read: Callable, names: list, size: int, crop: int | None) -> None:
    """Decode `names`, as `decode` does, into `file`, which appears whole or not at all; prints what it skipped.

    Raises RalkitError if more than 1 % of them (of a few, ten; of a handful, half) cannot be read, and if the file
    cannot be written.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(names), 3, size, size)}
    temporary = store.temporary_name(file)
    digest, checksum = hashlib.blake2b(digest_size=DIGEST), 0
    start = time.perf_counter()
    bad, most = [], min(max(10, len(names) // 100), len(names) // 2)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        store.remove_leftovers(file)
        # The pool ends first: nothing reads from a source that an error has closed.
        with open(temporary, "wb") as out, ThreadPoolExecutor() as pool:
            np.lib.format.write_array_header_1_0(out, header)
            images = _decode_all(pool, partial(decode, read, size, crop), names)
            for name, image in tqdm(images, desc=title, total=len(names), unit=" images", leave=False):
                if isinstance(image, np.ndarray):
                    out.write(image)
                    digest.update(image)
                    checksum = zlib.crc32(image, checksum)
                    continue
                bad.append(f"{name!r} ({shown(image)})")
                if len(bad) > most:
                    raise RalkitError(f"{title}: {len(bad)} or more images cannot be read, first {bad[0]}.")
            out.write(digest.digest() + _as_bytes(zlib.crc32(digest.digest(), checksum)))
            out.seek(0)  # a header keeps its length whatever the count
            header["shape"] = (len(names) - len(bad), 3, size, size)
            np.lib.format.write_array_header_1_0(out, header)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except OSError as error:
        needed = f"{len(names) * 3 * size**2:,} bytes"
        raise RalkitError(
            f"The decoded images ({needed}) cannot be written to {shown(file.parent)} ({error.strerror}): "
            "make room there or choose another cache folder."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    if bad:
        more = f" and {len(bad) - 20} more" * (len(bad) > 20)
        print(f"{title}: skipped {len(bad)} unreadable image(s): {', '.join(bad[:20])}{more}.")
    count, seconds = len(names) - len(bad), time.perf_counter() - start
    print(f"{title}: read {count} images at {size}x{size} in {seconds:.1f} s, kept in {shown(file)}.")


def _decode_all(pool: ThreadPoolExecutor, decode: Callable, names: list) -> Iterator[tuple]:
    for i in range(0, len(names), BATCH):
        batch = names[i : i + BATCH]
        yield from zip(batch, pool.map(decode, batch), strict=True)
