"""RAL on photographs: a world for each seed, rows that are kept beside each other, and what they are said to say."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ralkit import __main__ as cli
from ralkit.course import photographs
from ralkit.course.claims import REJECTED
from ralkit.course.faces import faces
from ralkit.course.predictions import ON_PHOTOGRAPHS
from ralkit.course.presets import PRESETS
from ralkit.errors import RalkitError
from ralkit.metrics import frechet_distance


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder `train` of 96 pictures and a folder `test` of 60."""
    folder = tmp_path_factory.mktemp("photos")
    images, _ = faces(156, 64, seed=5)
    for i, x in enumerate(images):
        file = folder / ("train" if i < 96 else "test") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(x.movedim(0, -1).numpy()).save(file)
    return folder


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """The folder of a run of one seed at smoke size, the project's root, and a run of further arguments; its status."""
    root, smoke = tmp_path_factory.mktemp("root"), PRESETS["smoke"].images
    with pytest.MonkeyPatch.context() as patch:
        one = replace(smoke.one, ral=replace(smoke.one.ral, updates=2, warmup=2), seeds=1)
        images = replace(smoke, one=one, two=None, n_eval=40)
        patch.setitem(PRESETS, photographs.PRESET, replace(PRESETS[photographs.PRESET], images=images))

        def run(*arguments):
            return cli.main(["photographs", "--root", str(root), "--features", "faces", *map(str, arguments)])

        out = root / "out"
        assert run("--dataset", photos, "--out", out) == 0
        yield out, root, run


def test_every_method_is_measured_beside_its_rivals(made, photos):
    kept = photographs.read(made[0])
    about = kept["about"]
    assert {"name": photos.name, "size": 64, "train": 96, "test": 60}.items() <= about["dataset"].items()
    # Half of the test images: the other half chooses the temperature.
    assert (about["features"], about["n_eval"]) == ("FD-faces", 30)
    rows = photographs.by_method(kept)
    assert set(rows) == {"MLE", *photographs.METHODS, *(photographs.colder(t) for t in (0.9, 0.8, 0.7)), REJECTED,
                         photographs.BEST}  # fmt: skip
    key = f"FD-faces {photographs.CHOOSING}"
    curve = [rows[m][0] for m in ("MLE", "MLE, T 0.9", "MLE, T 0.8", "MLE, T 0.7")]
    best = int(np.argmin([row[key] for row in curve]))
    assert rows[photographs.BEST][0] == curve[best] | {"temperature": (1.0, 0.9, 0.8, 0.7)[best]}
    beside = photographs.differences(kept)["RAL patches single"]
    distance = lambda method: rows[method][0]["FD-faces to real"]  # noqa: E731
    assert beside["MLE continued"][0] == distance("RAL patches single") - distance("MLE continued")


def test_the_two_halves_of_the_test_images_are_apart(made, photos):
    world = photographs.Photographs(photographs.PRESET, str(photos), 1, levels=1, features="faces", root=made[1])
    test = world.images.test
    of_judges = world.features(test[:30])
    row = world.compare(of_judges)
    assert row["FD-faces to real"] == pytest.approx(0, abs=1e-3)
    expected = frechet_distance(world.features(test[30:60]), of_judges)
    assert row[f"FD-faces {photographs.CHOOSING}"] == pytest.approx(expected, rel=1e-6) and expected > 0.01


def test_a_seed_that_is_there_is_not_made_again_and_another_is_added(made, photos, capsys):
    out, root, run = made
    before = (out / "rows.json").read_text()
    assert run("--dataset", photos, "--out", out) == 0
    assert "seed 1:" not in capsys.readouterr().out and (out / "rows.json").read_text() == before
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows.json").write_text(before)
    assert run("--dataset", photos, "--out", elsewhere, "--seeds", "2") == 0
    kept, one = photographs.read(elsewhere), json.loads(before)["seeds"]["1"]
    assert list(kept["seeds"]) == ["1", "2"] and kept["seeds"]["1"] == one
    assert kept["seeds"]["2"]["methods"]["MLE"] != one["methods"]["MLE"]
    page = (elsewhere / "REPORT.md").read_text()
    assert "mean ± spread over 2 seeds" in page and "one run" not in page
    assert all(f"* **{method}**: {why}." in page for method, why in ON_PHOTOGRAPHS.items())
    assert {*ON_PHOTOGRAPHS, "MLE continued"} == set(photographs.METHODS)


def test_what_rows_say_follows_from_them():
    """RAL methods against hand-made rivals: one is lower than all in every seed, one is not decided beside colder MLE.

    The temperature that the held-out images choose, .8, is not the one that the judging images would.
    """
    metric, dice = "FID-768", np.random.default_rng(0)

    def row(judged, chosen_by=99.0):
        judged = judged + 0.1 * dice.standard_normal()
        return {f"{metric} to real": judged, f"{metric} {photographs.CHOOSING}": chosen_by}

    seeds = {}
    for seed in "123":
        methods = {m: row(50) for m in ("MLE", *photographs.METHODS, REJECTED)}
        methods |= {
            photographs.colder(t): row(judged, by) for t, judged, by in ((0.9, 44, 9), (0.8, 45, 8), (0.7, 43, 9))
        }
        methods["RAL single"] = row(40)
        methods["RAL intermediate"] = row(45 + {"1": -1, "2": 1, "3": 0.1}[seed])
        methods["RAL anchored"] = row(60)
        seeds[seed] = {"methods": methods}
    kept = {"about": {"features": metric}, "seeds": seeds}
    assert [r["temperature"] for r in photographs.by_method(kept)[photographs.BEST]] == [0.8] * 3
    single, intermediate, *_, anchored = photographs.sentences(kept)
    assert single == (
        "**RAL single**: its FID-768 to real is below that of MLE, MLE continued, MLE at its best T and MLE, a critic "
        "keeps 1 of 4."
    )
    assert intermediate.endswith("a critic keeps 1 of 4; not decided beside that of MLE at its best T.")
    assert anchored.endswith("above that of MLE, MLE continued, MLE at its best T and MLE, a critic keeps 1 of 4.")
    said = photographs.decided(kept)
    assert said.startswith("Of these 20 differences ") and said.endswith("is 0.8, 0.8, 0.8, seed by seed.")
    alone, corrected = map(int, re.search(r"differences (\d+) are .* and (\d+) after Holm", said).groups())
    assert 11 <= alone <= 15 and 8 <= corrected <= alone
    one = photographs.sentences(kept | {"seeds": {"1": seeds["1"]}})
    assert "below that of" in one[0] and one[0].endswith("(one run decides nothing).")


def test_rows_of_other_pictures_are_refused_though_they_are_called_the_same(made, photos, tmp_path, capsys):
    """As many pictures of the same size in a folder of the same name, but others: nothing of theirs is mixed in."""
    out, _, run = made
    before = (out / "rows.json").read_bytes()
    others = tmp_path / photos.name
    for file in photos.rglob("*.png"):
        copy = others / file.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(copy)
    capsys.readouterr()
    assert run("--dataset", others, "--out", out) == 2
    assert "rows.json has other dataset than this run; give another --out" in capsys.readouterr().err
    assert (out / "rows.json").read_bytes() == before


def test_too_few_test_images_are_refused_before_anything_is_trained(made, tmp_path, capsys):
    images, _ = faces(40, 64, seed=6)
    for i, x in enumerate(images):
        file = tmp_path / ("train" if i < 20 else "test") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(x.movedim(0, -1).numpy()).save(file)
    capsys.readouterr()
    assert made[2]("--dataset", tmp_path, "--out", tmp_path / "out") == 2
    out, err = capsys.readouterr()
    assert "has 20 test images; give 24 or more, because one half" in err and "VQ-VAE" not in out


def test_slips_are_one_sentence_and_lose_nothing(made, photos, capsys, monkeypatch):
    out, root, run = made
    capsys.readouterr()
    assert run("--dataset", "faces") == 2
    assert capsys.readouterr().err.startswith("ralkit: --dataset faces: give a folder, zip or lmdb of photographs")
    assert run("--dataset", photos, "--seeds", "one") == 2
    assert capsys.readouterr().err == "ralkit: --seeds one: give seeds, such as 1,2\n"
    with pytest.raises(RalkitError, match=r"no FID network in data/: put weights-\S+ there, or give --features"):
        photographs.measure(str(photos), None, [1], out, root=root)
    kept = json.loads((out / "rows.json").read_text())
    kept["about"]["n_eval"] = 7
    other = root / "other"
    other.mkdir()
    (other / "rows.json").write_text(json.dumps(kept))
    before = (other / "rows.json").read_bytes()
    assert run("--dataset", photos, "--out", other, "--seeds", "1") == 2
    assert "rows.json has other n_eval than this run; give another --out" in capsys.readouterr().err
    assert (other / "rows.json").read_bytes() == before
    (other / "rows.json").write_text("[1]")
    assert run("--dataset", photos, "--out", other) == 2
    assert "is no file of `photographs`" in capsys.readouterr().err
    (other / "rows.json").write_text("{")
    assert run("--dataset", photos, "--out", other) == 2
    assert "rows.json is damaged; take it from git again, or remove it" in capsys.readouterr().err
