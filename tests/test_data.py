"""Readers of images: pixels, crops, splits, the cache, and every sentence a user may meet."""

import errno
import os
import warnings
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from ralkit.course import data
from ralkit.course.faces import FACTORS
from ralkit.errors import RalkitError

REAL = Path(__file__).parents[2] / "shared/datasets"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no copy of CelebA in shared/datasets")


def picture(i: int, width: int = 20, height: int = 16) -> np.ndarray:
    """A picture that no other index has, uint8 (height, width, 3)."""
    return np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_picture(path: Path, i: int, **shape) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(i, **shape)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """24 images in a folder with sub-folders, one of them hidden from the readers by its kind."""
    root = tmp_path / "photos"
    for i in range(24):
        write_picture(root / f"{'ab'[i % 2]}/{i:02}.png", i)
    (root / "notes.txt").write_text("not an image")
    (root / "a/._00.png").write_bytes(b"what macOS leaves behind")
    return root


@pytest.fixture
def load(tmp_path):
    def load(dataset, size=16, n_train=100, n_test=100, **options):
        return data.load(str(dataset), size, n_train, n_test, cache=tmp_path / "cache", **options)

    return load


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def centre(i: int) -> bytes:
    """What `picture(i)` is after the crop to 16x16, in the order of an ImageSet."""
    return picture(i)[:, 2:18].transpose(2, 0, 1).tobytes()


def zip_folder(root: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root.parent))
    return file


def write_lmdb(root: Path, n: int) -> Path:
    with lmdb.open(str(root), map_size=2**24, lock=False) as env, env.begin(write=True) as transaction:
        for i in range(n):
            file = write_picture(root.with_name("one.webp"), i, width=20 + 4 * (i % 2), height=16)
            transaction.put(b"\xff\x00key%d" % i, file.read_bytes())
    return root


# ---- Conversions and the faces ----


def test_floats_and_bytes_convert_exactly():
    every = torch.arange(256, dtype=torch.uint8).reshape(4, 4, 4, 4)
    assert torch.equal(data.to_uint8(data.to_float(every)), every)
    assert data.to_float(every).dtype == torch.float32
    assert data.to_float(every).aminmax() == (-1, 1)
    assert data.to_uint8(torch.tensor([-7.0, 7.0, 0.0])).tolist() == [0, 255, 128]


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


def test_the_readme_lists_every_factor_of_the_faces():
    readme = (Path(__file__).parents[1] / "data/README.md").read_text(encoding="utf-8")
    for name, values in FACTORS.items():
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
    few = data._choose(lambda: names[:2000], None, {"train": 9999, "test": 9999}, Path())
    all_ = data._choose(lambda: names, None, {"train": 9999, "test": 9999}, Path())
    assert set(few["test"]) <= set(all_["test"]) and set(few["train"]) <= set(all_["train"])
    assert len(all_["train"]) + len(all_["test"]) == 5000


def test_subsets_are_nested_and_spread_over_the_set(folder, load):
    every, some = load(folder), load(folder, n_train=5, n_test=1)
    assert torch.equal(some.train, every.train[:5]) and torch.equal(some.test, every.test[:1])
    assert some.key != every.key
    names = data._choose(lambda: [f"{i:04}" for i in range(1000)], None, {"train": 100, "test": 9}, Path())
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


def test_celeba_list_of_other_files_is_an_empty_set(celeba, load):
    (celeba / "list_eval_partition.txt").write_text("a.jpg 0\nb.jpg 2\n")
    with pytest.raises(RalkitError, match="No images in"):
        load(celeba)


# ---- lmdb ----


def test_lmdb_reads_any_keys(tmp_path, load):
    images = load(write_lmdb(tmp_path / "church_train_lmdb", 40))
    assert images.name == "church_train_lmdb"
    assert len(images.train) + len(images.test) == 40 and len(images.test) >= 1
    assert len(rows(images.train) | rows(images.test)) == 40
    assert not (tmp_path / "church_train_lmdb/lock.mdb").exists()


def test_lmdb_damage_is_named(tmp_path, load):
    root = write_lmdb(tmp_path / "lsun", 40)
    whole = (root / "data.mdb").read_bytes()
    (root / "data.mdb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RalkitError, match=r"data.mdb is cut short \(\d+ of \d+ bytes\)"):
        load(root)
    (root / "data.mdb").write_bytes(b"nothing like it" * 1000)
    with pytest.raises(RalkitError, match="lsun is not a readable lmdb"):
        load(root)


# ---- The cache ----


def no_reading(*_):
    raise AssertionError("an image was read")


def test_second_load_reads_the_cache_only(folder, load, monkeypatch, capsys):
    first = load(folder)
    said = capsys.readouterr().out
    assert f"photos train: read {len(first.train)} images at 16x16" in said
    monkeypatch.setattr(data, "_open_source", no_reading)
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


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"x"),
        lambda file: file.write_bytes(b""),
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


def test_an_interrupt_leaves_nothing_half_written(folder, tmp_path, load, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "_decode", interrupt)
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


# ---- What is no data set ----


def test_what_is_not_there_is_named(load):
    with pytest.raises(RalkitError, match="No data set 'fases': give 'faces', or the path"):
        load("fases")


def test_an_empty_folder_is_named(tmp_path, load):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RalkitError, match=r"No images in .*empty: give a folder or zip of bmp, jpeg, jpg, png, webp"):
        load(tmp_path / "empty")


def test_one_image_is_too_few(tmp_path, load):
    write_picture(tmp_path / "one/0.png", 0)
    with pytest.raises(RalkitError, match=r"0 training and 1 test image\(s\) in .*one: add images"):
        load(tmp_path / "one")


def test_two_images_are_a_set(tmp_path, load):
    for i in range(2):
        write_picture(tmp_path / f"two/{i}.png", i)
    images = load(tmp_path / "two")
    assert len(images.train) == len(images.test) == 1


def test_files_that_are_no_whole_zip_are_named(folder, tmp_path, load):
    text = tmp_path / "notes.txt"
    text.write_text("not images")
    cut = zip_folder(folder, tmp_path / "cut.zip")
    cut.write_bytes(cut.read_bytes()[:-100])
    for file in (text, cut):
        with pytest.raises(RalkitError, match=f"{file.name} is not a zip, or not all of one"):
            load(file)


@pytest.mark.parametrize("size", [0, -16, 12, 18, 33])
def test_sizes_that_no_model_takes_are_named(load, size):
    with pytest.raises(RalkitError, match=f"The image size is {size}: give a multiple of 4"):
        load("faces", size)


@pytest.mark.parametrize(("n_train", "n_test"), [(0, 1), (1, 0), (-1, 5)])
def test_counts_below_one_are_named(load, n_train, n_test):
    with pytest.raises(RalkitError, match="give 1 or more of each"):
        load("faces", 16, n_train, n_test)


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
            ours = data._decode(large.read, 64, data.CELEBA_CROP, name).astype(float)
            theirs = data._decode(small.read, 64, None, small_name).astype(float)
            errors.append(np.abs(ours - theirs).mean())
    assert len(errors) >= 5 and np.mean(errors) < 4  # what WebP loses; one pixel off in the crop would make it 6
