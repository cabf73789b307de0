"""Builders of hostile, damaged and odd data sets: build(root) makes one below `root` and returns where it is."""

import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from pictures import write_lmdb, write_pictures, zip_folder

from ralkit.course import sources

Build = Callable[[Path], Path]


def tiff(values: np.ndarray, bits: int, kind: int = 1, photometric: int = 1) -> bytes:
    """A TIFF of one channel, (H, W); `kind` 1 is of whole numbers without sign, 2 with one, 3 of floats."""
    height, width = values.shape
    if bits == 12:  # two values in three bytes
        pairs = values.reshape(-1, 2).astype(np.uint32)
        packed = pairs[:, 0] << 12 | pairs[:, 1]
        pixels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1).astype(np.uint8).tobytes()
    else:
        pixels = values.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(pixels), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def png_16_bits(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, from uint16 (H, W) or (H, W, 3)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def made(make: Callable[[Path], object]) -> Build:
    """What `make` puts at root/set."""

    def build(root: Path) -> Path:
        make(root / "set")
        return root / "set"

    return build


def bind(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def linked(links: dict[str, str], real: tuple[str, ...] = ("a", "b")) -> Build:
    """Twelve pictures in each folder of `real`, numbered on, beside links: path -> target."""

    def build(root: Path) -> Path:
        for i, folder in enumerate(real):
            write_pictures(root / "set" / folder, 12, start=12 * i)
        for link, target in links.items():
            (root / "set" / link).parent.mkdir(parents=True, exist_ok=True)
            (root / "set" / link).symlink_to(target)
        return root / "set"

    return build


def hard_linked(root: Path) -> Path:
    os.link(linked({}, ("test", "train"))(root) / "test/0.png", root / "set/train/again.png")
    return root / "set"


def split_with(**bad: Callable[[Path], object]) -> Build:
    """Pictures 0 to 3 in train, 4 to 7 in test, and beside those in train what is made there by name."""

    def build(root: Path) -> Path:
        write_pictures(root / "set/train", 4)
        write_pictures(root / "set/test", 4, start=4)
        for name, make in bad.items():
            make(root / "set/train" / f"{name}.png")
        return root / "set"

    return build


def all_of(content: bytes, suffix: str = "tif") -> Build:
    """One picture to train on and one to test on, both of this content."""

    def build(root: Path) -> Path:
        for split in ("train", "test"):
            (root / "set" / split).mkdir(parents=True)
            (root / "set" / split / f"0.{suffix}").write_bytes(content)
        return root / "set"

    return build


def with_tiff(*args, **options) -> Build:
    return split_with(bad=lambda file: file.write_bytes(tiff(*args, **options)))


def zipped(add: Callable[[zipfile.ZipFile], object]) -> Build:
    """The pictures of `split_with` in a zip, to which `add` adds."""

    def build(root: Path) -> Path:
        file = zip_folder(split_with()(root), root / "set.zip")
        with zipfile.ZipFile(file, "a") as archive:
            add(archive)
        return file

    return build


def cut_zip(root: Path) -> Path:
    file = zipped(lambda archive: None)(root)
    os.truncate(file, file.stat().st_size - 100)
    return file


def large_entry(archive: zipfile.ZipFile) -> None:
    archive.writestr("set/train/bad.png", bytes(sources.LARGEST + 1), zipfile.ZIP_DEFLATED, compresslevel=1)


def lying_zip(root: Path, actual: int = 2**26) -> Path:
    """A zip with an entry that holds `actual` bytes, and declares a thousand."""
    file = zipped(lambda archive: archive.writestr("set/train/bad.png", bytes(actual), zipfile.ZIP_DEFLATED))(root)
    content = file.read_bytes()
    assert content.count(struct.pack("<I", actual)) == 2
    file.write_bytes(content.replace(struct.pack("<I", actual), struct.pack("<I", 1000)))
    return file


def same_name_twice(archive: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("set/train/0.png", archive.read("set/train/0.png"))


def large_value(root: Path) -> Path:
    file = write_lmdb(root / "set", 40)
    with lmdb.open(bytes(file), map_size=2**30, lock=False) as env, env.begin(write=True) as out:
        out.put(b"bad", bytes(sources.LARGEST + 1))
    return file


def damaged_lmdb(damage: Callable[[bytes], bytes]) -> Build:
    def build(root: Path) -> Path:
        file = write_lmdb(root / "set", 40) / "data.mdb"
        file.write_bytes(damage(file.read_bytes()))
        return root / "set"

    return build
