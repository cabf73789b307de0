"""Files that are whole or absent."""

import errno
import hashlib
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch

from ralkit import store
from ralkit.errors import RalkitError


@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip(tmp_path, compressed):
    content = {"x": torch.randn(3), "history": {"step": [0, 1]}, "name": "a"}
    store.write(tmp_path / "deep" / "a.pt", content, compressed=compressed)
    back = store.read(tmp_path / "deep" / "a.pt")
    assert (back["x"] == content["x"]).all()
    assert back["history"] == content["history"]


@pytest.mark.parametrize("damage", ["truncated", "a changed byte", "empty", "text"])
def test_a_damaged_file_is_named_and_not_loaded(tmp_path, damage):
    path = tmp_path / "a.pt"
    store.write(path, {"x": torch.zeros(100)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = {"truncated": data[:-200], "a changed byte": data, "empty": b"", "text": b"hello" * 20}
    path.write_bytes(bytes(changed[damage]))
    with pytest.raises(RalkitError, match=r"a\.pt is damaged .* delete it"):
        store.read(path)


def test_a_compressed_file_takes_less_room_and_has_the_digest_of_its_own_bytes(tmp_path):
    files = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for file, compressed in zip(files, (False, True), strict=True):
        store.write(file, {"x": torch.zeros(10_000)}, compressed=compressed)
    assert files[1].stat().st_size < files[0].stat().st_size / 10
    assert hashlib.sha256(files[1].read_bytes()[: -store.DIGEST]).hexdigest()[:12] == store.digest(files[1])


def test_nothing_is_unpickled_before_the_digest_is_known_to_hold(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    store.write(path, {"x": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("was read"))
    with pytest.raises(RalkitError, match="is damaged"):
        store.read(path)


class Harm:
    def __reduce__(self):
        return os.mkdir, (self.where,)


@pytest.mark.parametrize("kind", ["text", "rows", "pickle", "tensors and an object", "compressed", "xz"])
def test_a_whole_file_of_another_kind_is_named_and_runs_nothing(tmp_path, kind):
    path, harm = tmp_path / "a.pt", Harm()
    harm.where = str(tmp_path / "harm")
    if kind == "rows":
        store.write_rows(path, [torch.arange(40).view(8, 5)])
    elif kind in ("tensors and an object", "compressed"):
        store.write(path, {"x": torch.zeros(3), "harm": harm}, compressed=kind == "compressed")
    else:
        data = {"text": b"hello" * 20, "pickle": pickle.dumps(harm, 2), "xz": store.XZ + b"and no more"}[kind]
        path.write_bytes(data + hashlib.sha256(data).digest())
    with pytest.raises(RalkitError, match=r"a\.pt is whole, but it is a file of another kind; move it away"):
        store.read(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("read", [store.read, lambda path: store.read_rows(path, 5)])
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, read):
    (tmp_path / "folder").mkdir()
    with pytest.raises(RalkitError, match=r"cannot read .*folder: a folder lies in its place"):
        read(tmp_path / "folder")
    with pytest.raises(RalkitError, match=r"cannot read .*absent: No such file"):
        read(tmp_path / "absent")

    def denied(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(store, "open", denied, raising=False)
    with pytest.raises(RalkitError, match=r"cannot read .*locked: Permission denied"):
        read(tmp_path / "locked")


MEMORY = """
import resource, sys, torch
from pathlib import Path
from ralkit import store

content = {"large": torch.ones(48 * 2**18), "more": [torch.ones(2**20) for _ in range(12)]}  # 48 + 48 MiB
store.write(Path(sys.argv[1]) / "first", {"x": torch.ones(1)})
store.read(Path(sys.argv[1]) / "first")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
before = peak()
store.write(Path(sys.argv[1]) / "a", content)
written = peak()
store.read(Path(sys.argv[1]) / "a")
print(written - before, peak() - written)
"""


def test_no_copy_is_made_to_write_or_to_read(tmp_path):
    """Of 96 MiB: writing takes next to no memory, reading takes what is read."""
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    writing, reading = map(float, done.stdout.split())
    assert writing < 16, writing
    assert reading < 96 + 16, reading


def test_rows_are_read_from_the_disk(tmp_path):
    path, parts = tmp_path / "codes.int16", [torch.randint(512, (n, 5)) for n in (3, 4)]
    store.write_rows(path, iter(parts))
    rows = store.read_rows(path, 5)
    assert rows.dtype == torch.int16
    assert torch.equal(rows.long(), torch.cat(parts))
    assert path.stat().st_size == 7 * 5 * 2 + store.DIGEST
    rows[0] = 0  # of this process alone
    assert torch.equal(store.read_rows(path, 5).long(), torch.cat(parts))


@pytest.mark.parametrize("damage", ["truncated", "a changed byte", "empty", "another width"])
def test_damaged_rows_are_named_and_not_loaded(tmp_path, damage):
    path = tmp_path / "codes.int16"
    store.write_rows(path, [torch.arange(200).view(40, 5)])
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    changed = {"truncated": data[:-10], "a changed byte": data, "empty": b"", "another width": path.read_bytes()}
    path.write_bytes(bytes(changed[damage]))
    with pytest.raises(RalkitError, match=r"codes\.int16 is damaged .* delete it"):
        store.read_rows(path, 7 if damage == "another width" else 5)


def test_rows_that_stop_coming_leave_no_file(tmp_path):
    def parts():
        yield torch.zeros(2, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_rows(tmp_path / "codes.int16", parts())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    store.write(path, {"x": 1})

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RalkitError, match="the disk is full; make room"):
        store.write(path, {"x": 2})
    assert store.read(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path):
    """A real write that fails, of a part of the file; torch.save hides the error, the sentence does not."""
    path = tmp_path / "a.pt"
    store.write(path, {"x": 1})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, old[1]))
    try:
        with pytest.raises(RalkitError, match=r"cannot write .*a\.pt \(\d\.\d MiB so far\): File too large; make room"):
            store.write(path, {"x": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert store.read(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_what_is_written_is_not_taken_for_the_disks(tmp_path):
    def parts():
        yield torch.zeros(2, 3)
        raise OSError("the images cannot be read")

    with pytest.raises(OSError, match="the images cannot be read"):
        store.write_rows(tmp_path / "codes.int16", parts())


@pytest.mark.parametrize("taken", ["its folder", "its place"])
def test_what_lies_in_the_place_of_a_file_or_its_folder_is_named(tmp_path, taken):
    path = tmp_path / "folder" / "a.pt"
    if taken == "its folder":
        (tmp_path / "folder").write_text("a file")
    else:
        path.mkdir(parents=True)
    with pytest.raises(RalkitError, match=f"a f.* lies in (the place of )?{taken}"):
        store.write(path, {"x": 1})


def test_keys_follow_the_configuration(smoke):
    assert store.key(smoke.ral, 1) == store.key(replace(smoke.ral), 1)
    assert store.key(smoke.ral, 1) != store.key(replace(smoke.ral, gamma=0.5), 1)
    assert store.key(smoke.ral, 1) != store.key(smoke.ral, 2)


@dataclass
class Settings:
    gamma: float
    sizes: tuple | list


def test_equal_configurations_have_equal_keys():
    assert store.key(Settings(1, (1, 2.0))) == store.key(Settings(1.0, [1.0, 2]))
    assert store.key({"a": 1, "b": (1,)}, [2]) == store.key({"b": [1.0], "a": 1.0}, (2.0,))
    assert store.key({1: "x"}) == store.key({1.0: "x"}) != store.key({"1": "x"})
    different = [1, 1.5, True, False, 0, "1", None, [1], [[1]], {"1": 1}, 10**20]
    assert len({store.key(value) for value in different}) == len(different)
    assert len({store.key({"gamma": value}) for value in different}) == len(different)


def test_what_a_killed_process_left_of_a_file_is_removed_and_nothing_else(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    path = tmp_path / "[a].pt"
    leftover, living, other = (
        tmp_path / name
        for name in (f".[a].pt.{killed.pid}.tmp", f".[a].pt.{os.getppid()}.tmp", f".b.pt.{killed.pid}.tmp")
    )
    for file in (leftover, living, other):
        file.write_bytes(b"half")
    store.write(path, 1)
    assert not leftover.exists() and living.exists() and other.exists()
