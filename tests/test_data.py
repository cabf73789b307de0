"""Readers of images: pixels, crops, splits, CelebA, lmdb."""

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import (
    centre,
    load_into,
    picture,
    rows,
    write_lmdb,
    write_photos,
    write_picture,
    zip_folder,
)
from PIL import Image

from ralkit.course import data, decoding, faces
from ralkit.errors import RalkitError
from ralkit.vqvae import to_float, to_uint8

REAL = Path(__file__).parents[2] / "shared/datasets"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no copy of CelebA in shared/datasets")


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def load(tmp_path):
    return partial(load_into, tmp_path / "cache")


# ---- Conversions and the faces ----


def test_floats_and_bytes_convert_exactly():
    every = torch.arange(256, dtype=torch.uint8).reshape(4, 4, 4, 4)
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_float(every).dtype == torch.float32
    assert to_float(every).aminmax() == (-1, 1)
    assert to_uint8(torch.tensor([-7.0, 7.0, 0.0])).tolist() == [0, 255, 128]


def test_faces_have_factors_and_disjoint_splits(load):
    first, again = load("faces", 16, 24, 8), load("faces", 16, 24, 8)
    assert first.train.shape == (24, 3, 16, 16) and first.test.shape == (8, 3, 16, 16)
    assert first.train.dtype == torch.uint8 and first.train_factors.dtype == torch.int64
    assert len(first.train_factors) == 24 and len(first.test_factors) == 8
    assert torch.equal(first.train, again.train) and first.key == again.key
    assert not rows(first.train) & rows(first.test)


def test_faces_key_depends_on_all_that_draws_them(load):
    keys = {
        load("faces", size, train, test, seed=seed).key
        for size, train, test, seed in [
            (16, 4, 4, 0),
            (20, 4, 4, 0),
            (16, 5, 4, 0),
            (16, 4, 5, 0),
            (16, 4, 4, 1),
        ]
    }
    assert len(keys) == 5


def test_faces_key_is_known_without_drawing_them(load, monkeypatch):
    key = load("faces", 16, 4, 4, seed=1).key
    monkeypatch.setattr(faces, "faces", None)
    assert data.faces_key(16, 4, 4, 1) == key


def test_the_readme_lists_every_factor_of_the_faces():
    readme = (Path(__file__).parents[1] / "data/README.md").read_text(encoding="utf-8")
    for name, values in faces.FACTORS.items():
        assert f"| `{name}` | {', '.join(values)} |" in readme


# ---- Pixels ----


def test_folder_gives_the_centre_of_each_image_once(folder, load):
    images = load(folder)
    assert images.name == "photos" and images.size == 16 and images.train_factors is None
    assert images.train.dtype == torch.uint8 and images.train.shape[1:] == (3, 16, 16)
    assert len(images.train) + len(images.test) == 24
    assert rows(images.train) | rows(images.test) == {centre(i) for i in range(24)}


def test_resize_is_lanczos_of_the_crop(tmp_path, load):
    for i in range(20):
        write_picture(tmp_path / f"set/{i}.png", i, width=40, height=70)
    expected = {
        np.asarray(
            Image.fromarray(picture(i, 40, 70)[15:55]).resize((20, 20), Image.Resampling.LANCZOS)
        ).transpose(2, 0, 1).tobytes()
        for i in range(20)
    }  # fmt: skip
    images = load(tmp_path / "set", 20)
    assert rows(images.train) | rows(images.test) == expected


@pytest.mark.parametrize(
    ("suffix", "modes"),
    [("png", "L LA P RGBA 1"), ("JPG", "L CMYK"), ("jpeg", "RGB"), ("webp", "RGBA"), ("bmp", "L P 1")],
)
def test_every_format_and_mode_becomes_rgb(tmp_path, load, suffix, modes):
    for mode in modes.split():
        for split in ("train", "test"):
            file = tmp_path / f"set/{split}/{mode}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(0)).convert(mode).save(file)
    images = load(tmp_path / "set")
    assert images.train.shape == images.test.shape == (len(modes.split()), 3, 16, 16)


def test_camera_orientation_is_applied(tmp_path, load):
    (tmp_path / "set").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for i in range(2):
        Image.fromarray(picture(i)[::-1, ::-1].copy()).save(tmp_path / f"set/{i}.png", exif=exif)
    images = load(tmp_path / "set")
    assert rows(images.train) | rows(images.test) == {centre(0), centre(1)}


def test_small_images_are_enlarged_at_most_twice(folder, load):
    assert load(folder, 32).train.shape[1:] == (3, 32, 32)
    with pytest.raises(RalkitError, match=r"'\w/\d\d.png' has 16 pixels a side, too few for 36"):
        load(folder, 36)


# ---- Splits and subsets ----


def test_zip_reads_like_the_folder(folder, tmp_path, load):
    images = load(zip_folder(folder, tmp_path / "photos.zip"))
    assert images.name == "photos"
    assert rows(images.train) | rows(images.test) == {centre(i) for i in range(24)}


@pytest.mark.parametrize("pack", [lambda root, file: root, zip_folder])
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_split_folders_are_kept(tmp_path, load, pack, held_out):
    for i in range(12):
        write_picture(tmp_path / f"set/{held_out if i < 4 else 'train'}/sub/{i}.png", i)
    write_picture(tmp_path / "set/loose.png", 99)
    images = load(pack(tmp_path / "set", tmp_path / "set.zip"))
    assert rows(images.test) == {centre(i) for i in range(4)}
    assert rows(images.train) == {centre(i) for i in range(4, 12)}


def test_val_is_left_out_beside_test(tmp_path, load):
    for i, split in enumerate(["train", "val", "test"]):
        write_picture(tmp_path / f"set/{split}/{i}.png", i)
    images = load(tmp_path / "set")
    assert rows(images.train) == {centre(0)} and rows(images.test) == {centre(2)}


def test_hashed_split_puts_a_tenth_aside_and_stays_as_a_set_grows():
    names = [f"{i}.png" for i in range(5000)]
    held_out = [name for name in names if data._hash_split(name) == "test"]
    assert 420 < len(held_out) < 580
    few = data._choose(lambda: names[:2000], None, {"train": 9999, "test": 9999}, Path(), 1)
    all_ = data._choose(lambda: names, None, {"train": 9999, "test": 9999}, Path(), 1)
    assert set(few["test"]) <= set(all_["test"]) and set(few["train"]) <= set(all_["train"])
    assert len(all_["train"]) + len(all_["test"]) == 5000


def test_subsets_are_nested_and_spread_over_the_set(folder, load):
    every, some = load(folder), load(folder, n_train=5, n_test=1)
    assert torch.equal(some.train, every.train[:5]) and torch.equal(some.test, every.test[:1])
    assert some.key != every.key
    names = data._choose(lambda: [f"{i:04}" for i in range(1000)], None, {"train": 100, "test": 9}, Path(), 1)
    assert 350 < np.mean([int(name) for name in names["train"]]) < 650


def test_seed_leaves_real_images_alone(folder, load):
    assert load(folder, seed=1).key == load(folder, seed=2).key


def test_fewer_images_than_asked_are_all_taken_and_said(folder, load, capsys):
    images = load(folder, n_train=30, n_test=1)
    assert (
        f"photos: fewer images than asked for, so these are all: {len(images.train)} of 30" in capsys.readouterr().out
    )
    load(folder, n_train=5, n_test=1)
    assert "photos: fewer" not in capsys.readouterr().out


# ---- CelebA ----


@pytest.fixture
def celeba(tmp_path):
    """CelebA's layout with 6 pictures of 178x218: 0-2 train, 3 validation, 4 test, 5 not listed."""
    root = tmp_path / "CelebA"
    for i in range(6):
        write_picture(root / f"img_align_celeba/{i:06}.png", i, width=178, height=218)
    (root / "list_eval_partition.txt").write_text(
        "".join(f"{i:06}.png {part}\n" for i, part in enumerate([0, 0, 0, 1, 2]))
    )
    return root


def celeba_centre(i: int) -> bytes:
    return picture(i, 178, 218)[35:183, 15:163].transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(
    "layout", ["root", "folder", "inside", "up", "zip", "zip root", "kaggle", "published", "published root"]
)
def test_celeba_keeps_its_crop_and_official_split_wherever_the_list_lies(celeba, load, layout):
    images, partition = celeba / "img_align_celeba", celeba / "list_eval_partition.txt"
    dataset = images
    if layout == "root":
        dataset = celeba
    elif layout == "inside":
        partition.rename(images / partition.name)
    elif layout == "up":
        partition.rename(celeba.parent / partition.name)
    elif layout.startswith("zip"):
        dataset = zip_folder(images, celeba / "img_align_celeba.zip")
        images.rename(celeba / "unused")
        dataset = celeba if layout == "zip root" else dataset
    elif layout == "kaggle":
        images.rename(celeba / "x")
        images.mkdir()
        (celeba / "x").rename(images / images.name)
    elif layout.startswith("published"):
        (celeba / "Img").mkdir()
        (celeba / "Eval").mkdir()
        partition.rename(celeba / "Eval" / partition.name)
        dataset = images.rename(celeba / "Img" / images.name)
        dataset = celeba if layout == "published root" else dataset
    images = load(dataset, 148)
    assert images.name == "celeba"
    assert rows(images.train) == {celeba_centre(i) for i in range(3)}
    assert rows(images.test) == {celeba_centre(4)}


def test_celeba_without_its_list_says_where_it_belongs(celeba, load):
    (celeba / "list_eval_partition.txt").unlink()
    with pytest.raises(RalkitError, match=r"list_eval_partition.txt is missing: put it in one of .*CelebA"):
        load(celeba)


def test_celeba_list_with_a_bad_line_is_named(celeba, load):
    (celeba / "list_eval_partition.txt").write_text("000000.png 0\n\n000001.png 7\n")
    with pytest.raises(RalkitError, match=r"partition.txt, line 3: '000001.png 7' is not like"):
        load(celeba)


def test_celeba_validation_images_alone_are_too_few(celeba, load):
    (celeba / "list_eval_partition.txt").write_text("000003.png 1\n")
    with pytest.raises(RalkitError, match=r"has 0 training and 0 test image\(s\), but"):
        load(celeba)


# ---- lmdb ----


def test_lmdb_reads_any_keys(tmp_path, load):
    images = load(write_lmdb(tmp_path / "church_train_lmdb", 40))
    assert images.name == "church_train_lmdb"
    assert len(images.train) + len(images.test) == 40 and len(images.test) >= 1
    assert len(rows(images.train) | rows(images.test)) == 40
    assert not (tmp_path / "church_train_lmdb/lock.mdb").exists()


@pytest.mark.parametrize("size", [0, -16, 12, 18, 33])
def test_sizes_that_no_model_takes_are_named(load, size):
    with pytest.raises(RalkitError, match=f"The image size is {size}: give a multiple of 4"):
        load("faces", size)


@pytest.mark.parametrize(("n_train", "n_test"), [(0, 1), (1, 0), (-1, 5)])
def test_counts_below_one_are_named(load, n_train, n_test):
    with pytest.raises(RalkitError, match="give 1 or more of each"):
        load("faces", 16, n_train, n_test)


def test_limits_below_the_least_number_are_named(load):
    with pytest.raises(RalkitError, match="30 training and 11 test images asked for: give 12 or more of each"):
        load("faces", 16, 30, 11, least=12)


# ---- The real CelebA ----


@needs_real
def test_real_celeba_is_read_as_published(load):
    images = load(REAL / "img_align_celeba.zip", 64, 60, 20)
    assert images.name == "celeba" and len(images.train) == 60 and len(images.test) == 20
    assert 60 < images.train.float().mean() < 160
    by_its_folder = load(REAL, 64, 60, 20)
    assert by_its_folder.key == images.key and torch.equal(by_its_folder.test, images.test)


@needs_real
def test_real_celeba_crop_agrees_with_the_small_copy():
    small, large = zipfile.ZipFile(REAL / "celeba64.zip"), zipfile.ZipFile(REAL / "img_align_celeba.zip")
    known = {Path(name).stem: name for name in small.namelist()}
    errors = []
    for name in large.namelist()[:200]:
        if small_name := known.get(Path(name).stem):
            ours = decoding.decode(large.read, 64, data.CELEBA_CROP, name).astype(float)
            theirs = decoding.decode(small.read, 64, None, small_name).astype(float)
            errors.append(np.abs(ours - theirs).mean())
    assert len(errors) >= 5 and np.mean(errors) < 4  # what WebP loses; one pixel off in the crop would make it 6


def test_faces_are_drawn_when_they_are_asked_for(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        data.faces_module, "faces", lambda n, *a, draw=data.faces_module.faces, **k: drawn.append(n) or draw(n, *a, **k)
    )
    images = data.Faces(16, 24, 8, 3)
    few = images.first("test", 2)
    assert drawn == [2] and len(few) == 2
    assert torch.equal(images.test[:2], few) and torch.equal(images.first("test", 3), images.test[:3])
    assert drawn == [2, 8] and len(images.test_factors) == 8
    assert torch.equal(images.train, data.load("faces", 16, 24, 8, seed=3).train)
