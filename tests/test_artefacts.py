"""Artefacts: made once, keyed by what made them, whole or absent, finite, and made by one process of several."""

import multiprocessing
import time

import pytest
import torch

from ralkit import store
from ralkit.course.artefacts import Artefacts, refuse_not_finite
from ralkit.errors import RalkitError


def test_what_is_there_is_read_and_what_changed_is_made_again(tmp_path):
    artefacts, made = Artefacts(tmp_path), []
    make = lambda checkpoint: made.append(checkpoint) or {"x": torch.ones(2), "n": len(made)}  # noqa: E731
    first = artefacts.get("a thing", (1, "x"), make)
    assert Artefacts(tmp_path).get("a thing", (1.0, "x"), make)["n"] == first["n"] == 1  # 1 and 1.0 are equal
    assert artefacts.get("a thing", (2, "x"), make)["n"] == 2
    assert artefacts.key("a thing", (1, "x")) != artefacts.key("a thing", (2, "x"))
    assert artefacts.is_stored("a thing", (1, "x")) and not artefacts.is_stored("a thing", (3, "x"))


def test_the_commit_that_made_it_is_stored(tmp_path):
    artefacts = Artefacts(tmp_path)
    artefacts.get("a", (), lambda _: 1)
    assert set(store.read(artefacts.path("a", ()))["made"]) == {"commit", "ralkit", "torch"}


def test_the_checkpoint_is_gone_when_the_artefact_is_whole(tmp_path):
    artefacts = Artefacts(tmp_path)
    artefacts.get("a", (), lambda checkpoint: store.write(checkpoint, {"step": 1}))
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.parametrize(
    ("content", "where"),
    [({"w": torch.tensor([1.0, torch.nan])}, "w"), ({"row": {"FD": float("inf")}}, "row/FD"), ([float("nan")], "")],
)
def test_what_is_not_finite_is_not_stored(tmp_path, content, where):
    with pytest.raises(RalkitError, match=f"a run: {where} is .*nothing was stored"):
        Artefacts(tmp_path).get("a run", (), lambda _: content)
    assert not list(tmp_path.glob("*.pt"))
    refuse_not_finite("a run", {"w": torch.ones(2), "n": 3, "name": "x", "row": [0.5]})


def test_a_file_of_another_kind_is_named(tmp_path):
    artefacts = Artefacts(tmp_path)
    store.write(artefacts.path("a", ()), {"content": 1})  # whole, but not an artefact
    with pytest.raises(RalkitError, match=r"a-\w+\.pt is no artefact"):
        artefacts.get("a", (), lambda _: 1)


def test_a_damaged_artefact_is_named(tmp_path):
    artefacts = Artefacts(tmp_path)
    artefacts.get("a", (), lambda _: torch.zeros(1000))
    path = artefacts.path("a", ())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RalkitError, match=path.name):
        artefacts.get("a", (), lambda _: 1)


def test_rows_are_written_once_and_read_from_the_disk(tmp_path):
    artefacts, parts = Artefacts(tmp_path), [torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6]])]
    assert artefacts.rows("codes", (), iter(parts), 2).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert artefacts.rows("codes", (), pytest.fail, 2).dtype == torch.int16


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RalkitError, match="cannot write"):
        Artefacts(tmp_path / "runs" / "artefacts").get("a", (), lambda _: 1)


def _race(folder, log, slow):
    def make(checkpoint):
        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(slow)
        return {"x": torch.arange(3)}

    assert Artefacts(folder).get("a", (), make)["x"].tolist() == [0, 1, 2]


def test_two_processes_make_it_once_and_the_second_says_that_it_waits(tmp_path, capfd):
    spawn = multiprocessing.get_context("fork")
    racers = [spawn.Process(target=_race, args=(tmp_path / "a", tmp_path / "log", 1.5)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"
    assert capfd.readouterr().out.count("a: another process is making it; this one waits for it") == 2


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    spawn = multiprocessing.get_context("fork")
    first = spawn.Process(target=_race, args=(tmp_path / "a", tmp_path / "log", 60))
    first.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.join(30)
    assert Artefacts(tmp_path / "a").get("a", (), lambda _: "mine") == "mine"
