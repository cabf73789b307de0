"""Data sets that are hostile, damaged or odd, as one table: how each is built, and what must be said or happen."""

import os
import re
import signal
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import odd_sets as odd
import pytest
import torch
from odd_sets import all_of, linked, made, png_16_bits, split_with, tiff, with_tiff, zipped
from pictures import centres, load_into, rows, write_lmdb, write_picture, write_pictures, zip_folder

from ralkit.course import sources
from ralkit.course.data import ImageSet
from ralkit.errors import RalkitError

ODD = os.fsdecode(b"caf\xe9")  # Latin-1: no UTF-8
GREY = np.linspace(0, 65535, 320).astype(np.uint16).reshape(16, 20)  # from black to white in 16 bits
TOO_LARGE = f"{sources.LARGEST + 1:,} bytes, more than the {sources.LARGEST:,}"


# ---- What comes of it: a sentence, or images of which this holds ----


def has(train, test) -> Callable[[ImageSet, str], bool]:
    """These pictures are in the two parts, each once."""
    return lambda images, said: (
        (len(images.train), len(images.test)) == (len(train), len(test))
        and (rows(images.train), rows(images.test)) == (centres(train), centres(test))
    )


def has_all(n: int) -> Callable[[ImageSet, str], bool]:
    """Pictures 0 to n - 1 are in one part or the other, each once."""
    return lambda images, said: (
        len(images.train) + len(images.test) == n and rows(images.train) | rows(images.test) == centres(range(n))
    )


def skips(why: str) -> Callable[[ImageSet, str], bool]:
    """The pictures of `split_with` are there, and this is said of what lies beside them."""
    return lambda images, said: (
        split(images, said) and re.search(rf"unreadable image\(s\): .*\({why}", said) is not None
    )


def is_grey(expected: np.ndarray) -> Callable[[ImageSet, str], bool]:
    """The picture is this one, (16, 20), up to a level of grey."""
    middle = np.rint(expected)[None, :, 2:18]
    return lambda images, said: np.abs(images.train[0].numpy() - middle).max() <= 1


PARTS = ("test", "train")
split, second_and_first = has(range(4), range(4, 8)), has(range(12, 24), range(12))
PIPE = "set is a pipe, a socket or a device: give 'faces', or the path"
FLOATS = r"floats outside \[0, 1\], which do not say what is white: save it with 8 or 16 bits"
WHOLE = "32-bit whole numbers, which do not say what is white: save it with 8 or 16 bits"
NOT_ZIP = "set.* is not a zip, or not all of one"
TABLE: dict[str, tuple[Callable[[Path], object], str | Callable[[ImageSet, str], bool]]] = {
    # Names
    "no name": (lambda root: "", "The data set's name is empty: give 'faces', or the path of a folder or zip"),
    "an unknown name": (lambda root: "fases", "No data set 'fases': give 'faces', or the path of a folder or zip"),
    "a name too long": (lambda root: "x" * 300, r"No data set 'x+' \(File name too long\): give"),
    "a zero byte": (lambda root: "a\0b", r"No data set 'a\\x00b' \(embedded null byte\): give"),
    "nobody's home": (lambda root: "~nobody-here/x", r"No data set '~nobody-here/x' \(Could not determine home"),
    "below a file": (lambda root: write_picture(root / "a.png", 0) / "b", r"b' \(Not a directory\): give"),
    "a link to itself": (made(lambda path: path.symlink_to("set")), r"set' \(Symlink loop|Too many levels"),
    "a link that leads nowhere": (made(lambda path: path.symlink_to("gone")), "No data set '.*set': give"),
    "a folder's name, 255 bytes": (lambda root: write_pictures(root / ("é" * 127 + "x"), 12), has_all(12)),
    "a folder's name, no UTF-8": (lambda root: write_pictures(root / ODD, 12), has_all(12)),
    "an empty folder's name, no UTF-8": (lambda root: (root / ODD).mkdir() or root / ODD, r"in .*caf\\udce9: give"),
    "a folder's name with a line break": (lambda root: write_pictures(root / "a\nb", 12), has_all(12)),
    "files' names, no UTF-8": (
        lambda root: write_picture(write_pictures(root / "set" / ODD, 11) / f"{ODD}.png", 11).parents[1], has_all(12),
    ),
    "a zip's name, no UTF-8": (
        lambda root: zip_folder(write_pictures(root / "set", 12), root / f"{ODD}.zip"), has_all(12),
    ),
    "an lmdb's name, no UTF-8": (
        lambda root: write_lmdb(root / ODD, 40), lambda images, said: len(images.train) + len(images.test) == 40,
    ),
    # What is neither a folder nor a zip
    "a pipe": (made(os.mkfifo), PIPE),
    "a socket": (made(odd.bind), PIPE),
    "a device": (lambda root: "/dev/zero", "/dev/zero is a pipe, a socket or a device"),
    "a pipe in a zip's place": (
        lambda root: os.mkfifo(root / "img_align_celeba.zip") or root, "celeba.zip is a pipe, a socket or a device",
    ),
    "a text": (made(lambda path: path.write_text("not images")), NOT_ZIP),
    "an empty file": (made(Path.touch), NOT_ZIP),
    "a zip cut short": (odd.cut_zip, NOT_ZIP),
    "an lmdb cut short": (
        odd.damaged_lmdb(lambda whole: whole[: len(whole) // 2]), r"data.mdb is cut short \(\d+ of \d+ bytes\): copy",
    ),
    "another file called data.mdb": (odd.damaged_lmdb(lambda whole: b"nothing" * 2000), "set is not a readable lmdb"),
    # Too few images
    "an empty folder": (made(Path.mkdir), "No images in .*set: give a folder or zip of bmp, jpeg, jpg, png, tif, tiff"),
    "one image": (made(lambda path: write_pictures(path, 1)), r"set has 1 image\(s\), but .* need 2 \(1 to train"),
    "two images": (made(lambda path: write_pictures(path, 2)), has_all(2)),
    # Links
    "a link to the folder itself": (linked({"self": "."}), has_all(24)),
    "two links to the folder itself": (linked({"one": ".", "two": "."}), has_all(24)),
    "folders that link to each other": (linked({"a/x": "../b", "b/x": "../a", "a/y": "..", "b/y": ".."}), has_all(24)),
    "a link to itself inside": (linked({"loop": "loop", "loop.png": "loop.png"}), has_all(24)),
    "a link that leads nowhere inside": (linked({"gone": "nowhere", "gone.png": "nowhere.png"}), has_all(24)),
    "one folder as both parts": (linked({"train": "../out", "test": "../out"}, ("../out",)), has_all(12)),
    "a folder linked twice": (linked({"c": "../out", "d": "../out"}, ("../out",)), has_all(12)),
    "an image linked twice": (linked({"c.png": "a/0.png", "d.png": "a/0.png"}), has_all(24)),
    "test images linked into train": (
        linked({"train/more": "../test", "train/x.png": "../test/0.png"}, PARTS), second_and_first,
    ),
    "train images linked into test": (linked({"test/more": "../train"}, PARTS), second_and_first),
    "a test image with a second name in train": (odd.hard_linked, second_and_first),
    "everything linked into train": (linked({"train/all": ".."}, PARTS), second_and_first),
    "a split by links": (
        linked({"train": "pool/x", "test": "pool/y"}, ("pool/x", "pool/y", "pool")), has(range(12), range(12, 24)),
    ),
    "a split by links, further down": (
        linked({"z/train": "../a", "z/test": "../b"}, ("a", "b", "c")), has(range(12), range(12, 24)),
    ),
    "a link that comes before the split": (linked({"a": "train"}, PARTS), second_and_first),
    # What lies among the images
    "a pipe and a folder called like images": (split_with(pipe=os.mkfifo, folder=Path.mkdir), split),
    "a device linked in": (split_with(zero=lambda file: file.symlink_to("/dev/zero")), split),
    "a text called like an image": (split_with(bad=lambda file: file.write_text("text")), skips("not an image")),
    "a file too large": (
        split_with(bad=lambda file: file.touch() or os.truncate(file, sources.LARGEST + 1)), skips(TOO_LARGE),
    ),
    "a zip's entry too large": (zipped(odd.large_entry), skips(TOO_LARGE)),
    "a zip's entry larger than declared": (odd.lying_zip, skips("Bad CRC-32")),
    "a zip's entry packed by bzip2": (
        zipped(lambda archive: archive.writestr("set/train/bad.png", b"?" * 999, zipfile.ZIP_BZIP2)),
        skips("zip method 12: pack the images by the usual one, deflate"),
    ),
    "a zip's entry listed twice": (zipped(odd.same_name_twice), split),
    "an lmdb's value too large": (odd.large_value, lambda images, said: f"b'bad' ({TOO_LARGE}" in said),
    # More than 8 bits a pixel
    "a grey PNG of 16 bits": (all_of(png_16_bits(GREY), "png"), is_grey(GREY / 257)),
    "a colour PNG of 16 bits": (all_of(png_16_bits(np.stack([GREY] * 3, 2)), "png"), is_grey(GREY / 257)),
    "a TIFF of 16 bits": (all_of(tiff(GREY, 16)), is_grey(GREY / 257)),
    "a TIFF of 16 bits, white is zero": (all_of(tiff(GREY, 16, photometric=0)), is_grey(255 - GREY / 257)),
    "a TIFF of 12 bits": (all_of(tiff(GREY >> 4, 12)), is_grey((GREY >> 4) / 4095 * 255)),
    "a TIFF of 8 bits": (all_of(tiff((GREY >> 8).astype(np.uint8), 8)), is_grey(GREY >> 8)),
    "a TIFF of floats in [0, 1]": (all_of(tiff(GREY / np.float32(65535), 32, kind=3), "tiff"), is_grey(GREY / 257)),
    "a TIFF of floats up to 255": (with_tiff(GREY / np.float32(257), 32, kind=3), skips(FLOATS)),
    "a TIFF of floats that are no numbers": (with_tiff(np.full_like(GREY, np.nan, "f4"), 32, kind=3), skips(FLOATS)),
    "a TIFF of 32-bit whole numbers": (with_tiff(GREY.astype(np.uint32), 32), skips(WHOLE)),
    "a TIFF of 16 bits with signs": (with_tiff(GREY, 16, kind=2), skips(WHOLE)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _never_hangs():
    """What waits for a pipe, or follows links for ever, fails."""

    def give_up(*_):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", TABLE)
def test_what_comes_of_it(tmp_path, capsys, case):
    build, outcome = TABLE[case]
    dataset = build(tmp_path)
    if isinstance(outcome, str):
        with pytest.raises(RalkitError, match=outcome) as caught:
            load_into(tmp_path / "cache", dataset)
        assert str(caught.value).isprintable()
        return
    images = load_into(tmp_path / "cache", dataset)
    said = capsys.readouterr().out
    assert outcome(images, said)
    assert (images.name + said.replace("\n", "")).isprintable()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"": 3},
            r"set has 3 image\(s\), but .* the metrics need 24 \(12 to train on, 12 to test on\) or more: add",
        ),
        ({"": 23}, r"set has 23 image\(s\), but training and the metrics need 24"),
        ({"": 24}, (12, 12)),
        ({"": 40}, (28, 12)),
        ({"train": 30, "test": 11}, r"set has 30 training and 11 test image\(s\), but .* need 12 of each or more: add"),
        ({"train": 11, "val": 30}, r"set has 11 training and 30 test image\(s\)"),
        ({"train": 12, "test": 12}, (12, 12)),
    ],
)
def test_a_set_with_fewer_images_than_are_needed_is_refused(tmp_path, parts, said):
    for i, (part, n) in enumerate(parts.items()):
        write_pictures(tmp_path / "set" / part, n, start=100 * i)
    if isinstance(said, str):
        with pytest.raises(RalkitError, match=said):
            load_into(tmp_path / "cache", tmp_path / "set", least=12)
        assert not (tmp_path / "cache").exists()
    else:
        images = load_into(tmp_path / "cache", tmp_path / "set", least=12)
        assert (len(images.train), len(images.test)) == said
        assert not rows(images.train) & rows(images.test)


def test_images_that_cannot_be_read_do_not_count(tmp_path):
    for split in ("train", "test"):
        write_pictures(tmp_path / "set" / split, 12)
    (tmp_path / "set/test/3.png").write_text("no image")
    for _ in range(2):  # decoded, and from the cache
        with pytest.raises(RalkitError, match=r"12 training and 11 test image\(s\) that can be read, but .* need 12"):
            load_into(tmp_path / "cache", tmp_path / "set", least=12)


def test_what_follows_the_declared_bytes_of_an_entry_is_not_unpacked(tmp_path):
    file = odd.lying_zip(tmp_path)
    tracemalloc.start()
    load_into(tmp_path / "cache", file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**24  # of the 2**26 bytes that are there


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    scandir, root = os.scandir, write_pictures(tmp_path / "set/locked", 4).parent

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RalkitError, match=r"set/locked cannot be listed \(Permission denied\): make it readable, or"):
        load_into(tmp_path / "cache", root)


def test_a_pipe_in_the_place_of_a_cached_file_is_replaced(tmp_path):
    root = write_pictures(tmp_path / "set", 12)
    first = load_into(tmp_path / "cache", root).train.clone()
    (file,) = (tmp_path / "cache").glob("*.train.npy")
    file.unlink()
    os.mkfifo(file)
    assert torch.equal(load_into(tmp_path / "cache", root).train, first) and file.is_file()
