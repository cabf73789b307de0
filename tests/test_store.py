"""Files that are whole or absent."""

import errno
import os
from dataclasses import replace

import pytest
import torch

from ralkit import store
from ralkit.errors import RalkitError


def test_round_trip(tmp_path):
    content = {"x": torch.randn(3), "history": {"step": [0, 1]}, "name": "a"}
    store.write(tmp_path / "deep" / "a.pt", content)
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


def test_keys_follow_the_configuration(smoke):
    assert store.key(smoke.ral, 1) == store.key(replace(smoke.ral), 1)
    assert store.key(smoke.ral, 1) != store.key(replace(smoke.ral, gamma=0.5), 1)
    assert store.key(smoke.ral, 1) != store.key(smoke.ral, 2)
