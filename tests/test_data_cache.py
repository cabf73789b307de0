"""The cache of decoded images: what is read again, what is made again, what is skipped."""

import errno
import os
import subprocess
import sys
import threading
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import centre, load_into, rows, write_photos, write_picture, zip_folder

from ralkit.course import data, pixel_cache
from ralkit.errors import RalkitError


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def load(tmp_path):
    return partial(load_into, tmp_path / "cache")


def no_reading(*_):
    raise AssertionError("an image was read")


def test_second_load_reads_the_cache_only(folder, load, monkeypatch, capsys):
    first = load(folder)
    said = capsys.readouterr().out
    assert f"photos train: read {len(first.train)} images at 16x16" in said
    monkeypatch.setattr(data, "open_source", no_reading)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = load(folder)
    assert torch.equal(first.train, second.train) and torch.equal(first.test, second.test)
    assert first.key == second.key


def test_a_tensor_may_be_written_to_and_its_cache_stays(folder, load):
    first = load(folder)
    before = first.train.clone()
    first.train.zero_()
    assert torch.equal(load(folder).train, before)


def test_another_size_is_another_file(folder, tmp_path, load):
    keys = {load(folder, size).key for size in (16, 20)}
    assert len(keys) == 2 and len(list((tmp_path / "cache").glob("photos-*.npy"))) == 4


def test_the_same_pictures_elsewhere_are_the_same_set(folder, tmp_path, load):
    """By the same names: they are decoded again, and what was trained on them is found again."""
    first = load(folder)
    for file in folder.rglob("*.png"):
        os.utime(file, (10**9, 10**9))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    folder = folder.rename(tmp_path / "moved")
    for again in (load(folder), load(tmp_path / "photos.zip")):
        assert torch.equal(again.train, first.train) and again.key == first.key
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 6


@pytest.mark.parametrize("change", ["add", "remove", "write"])
def test_a_changed_source_is_read_again(folder, load, change):
    first = load(folder)
    target = folder / "a/00.png"
    if change == "add":
        write_picture(folder / "b/99.png", 99)
    elif change == "remove":
        target.unlink()
    else:
        write_picture(target, 98)
    second = load(folder)
    assert second.key != first.key
    kept = rows(first.train) | rows(first.test)
    assert (rows(second.train) | rows(second.test)) != kept


def overwrite(file, start, content):
    with open(file, "r+b") as out:
        out.seek(start, os.SEEK_END)
        out.write(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"x"),
        lambda file: file.write_bytes(b""),
        lambda file: overwrite(file, -8000, bytes(4000)),  # pixels, not at the end
        lambda file: overwrite(file, -20, b"?"),  # the digest
        lambda file: overwrite(file, -4, b"????"),  # the checksum
        lambda file: file.write_bytes(b"\x93NUMPY" + b"?" * 200),
        lambda file: np.save(file, np.zeros((4, 3, 8, 8), np.uint8)),
        lambda file: np.save(file, np.zeros((4, 3, 16, 16), np.float32)),
        lambda file: np.save(file, np.zeros((0, 3, 16, 16), np.uint8)),
        lambda file: np.save(file, np.uint8(0)),
    ],
)
def test_a_damaged_cache_is_named_and_made_again(folder, tmp_path, load, capsys, damage):
    first = load(folder).train.clone()
    (file,) = (tmp_path / "cache").glob("*.train.npy")
    damage(file)
    capsys.readouterr()
    assert torch.equal(load(folder).train, first)
    said = capsys.readouterr().out
    assert f"{file} is damaged: it is made again." in said
    assert "photos train: read" in said and "photos test: read" not in said


def test_a_full_disk_is_named_and_leaves_nothing(folder, tmp_path, load, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RalkitError, match=r"\(768 bytes\) cannot be written to .*cache \(No space left on device\)"):
        load(folder, n_train=1, n_test=1)
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_a_folder_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(RalkitError, match="cannot be written to"):
            data.load(str(folder), 16, 1, 1, cache=cache)


def test_two_runs_at_once_fill_the_same_cache(folder, tmp_path, load, monkeypatch):
    """The other run begins and ends while this one is in the midst of decoding."""
    decode, begun = pixel_cache.decode, threading.Lock()
    other = "import sys; from pictures import *; print(load_into(Path(sys.argv[1]), sys.argv[2]).key)"
    said = []

    def decode_beside(*args):
        if begun.acquire(blocking=False):
            command = [sys.executable, "-c", other, tmp_path / "cache", folder]
            said.append(subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True))
        return decode(*args)

    monkeypatch.setattr(pixel_cache, "decode", decode_beside)
    images = load(folder)
    assert said[0].stdout.split()[-1] == images.key == load(folder).key
    assert rows(images.train) | rows(images.test) == {centre(i) for i in range(24)}
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".npy", ".npy"]


def test_an_interrupt_leaves_nothing_half_written(folder, tmp_path, load, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pixel_cache, "decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(folder)
    assert not list((tmp_path / "cache").iterdir())


# ---- Unreadable images ----


def test_a_few_unreadable_images_are_skipped_and_named(tmp_path, load, capsys):
    for i in range(8):
        file = write_picture(tmp_path / f"set/{'test' if i < 4 else 'train'}/{i}.png", i)
        if i == 5:
            file.write_bytes(b"no image")
        elif i == 6:
            file.write_bytes(file.read_bytes()[:-200])
    images = load(tmp_path / "set")
    assert rows(images.test) == {centre(i) for i in range(4)}
    assert rows(images.train) == {centre(4), centre(7)}
    said = capsys.readouterr().out
    assert "set train: skipped 2 unreadable image(s): " in said
    assert "'train/5.png' (not an image)" in said and "'train/6.png' (image file is truncated" in said
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_too_many_unreadable_images_are_an_error(tmp_path, load):
    for i in range(40):
        file = write_picture(tmp_path / f"set/train/{i:02}.png", i)
        if i < 11:
            file.write_bytes(b"no image")
    write_picture(tmp_path / "set/test/0.png", 0)
    with pytest.raises(RalkitError, match=r"set train: 11 or more images cannot be read, first 'train/\d\d.png' \("):
        load(tmp_path / "set")
    assert not list((tmp_path / "cache").iterdir())


def test_a_zip_with_a_damaged_image_inside_skips_it(folder, tmp_path, load, capsys):
    file = zip_folder(folder, tmp_path / "photos.zip")
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("photos/a/00.png").header_offset
    content = bytearray(file.read_bytes())
    content[start + 300] ^= 255
    file.write_bytes(content)
    images = load(file)
    assert len(images.train) + len(images.test) == 23
    assert "'photos/a/00.png' (Bad CRC-32" in capsys.readouterr().out
