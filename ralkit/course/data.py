"""Images in: the procedural faces, a folder, a zip, CelebA or an LSUN lmdb; out: square uint8 tensors.

Where real images lie is the business of `sources`, how one is read that of `decoding`, and where they are kept once
they are decoded that of `pixel_cache`. Here they are split into training and test images.
"""

import hashlib
import heapq
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from torch import Tensor

from ..errors import RalkitError
from . import faces as faces_module
from .pixel_cache import FORMAT, fill_cache, open_cache
from .sources import SUFFIXES, fingerprint, locate, open_source, shown, split_folder

TEST_START = 1_000_000  # the test faces start at this index, out of reach of the training faces
TEST_SHARE = 0.1  # of a set that comes without its own split
CELEBA_CROP = 148  # the centre of a 178x218 aligned picture that papers on CelebA use


@dataclass(frozen=True)
class ImageSet:
    """Training and test images of one size, with their factors where they are known."""

    name: str  # "faces", "celeba", or what the folder or zip is called
    size: int
    train: Tensor  # uint8 (N, 3, S, S)
    test: Tensor  # uint8 (M, 3, S, S)
    train_factors: Tensor | None  # int64 (N, F), faces only
    test_factors: Tensor | None  # int64 (M, F), faces only
    key: str  # identifies what draws the faces, or the pixels of real images, wherever they come from

    def first(self, split: str, n: int) -> Tensor:
        """The first n images of "train" or "test", uint8 (n, 3, S, S); all where there are fewer."""
        return getattr(self, split)[:n]

    def count(self, split: str) -> int:
        """How many images of "train" or "test" there are."""
        return len(getattr(self, split))


class Faces:
    """The procedural faces as an ImageSet whose parts are drawn when they are first asked for."""

    name = "faces"

    def __init__(self, size: int, n_train: int, n_test: int, seed: int):
        self.size, self.seed, self.key = size, seed, faces_key(size, n_train, n_test, seed)
        self.drawn: dict[str, tuple[Tensor, Tensor]] = {}  # images and factors of the parts that were asked for
        self.parts = {"train": (0, n_train), "test": (max(TEST_START, n_train), n_test)}  # the first index, how many

    def count(self, split: str) -> int:
        """As `ImageSet.count`; nothing is drawn."""
        return self.parts[split][1]

    def _draw(self, split: str, n: int) -> tuple[Tensor, Tensor]:
        start, there = self.parts[split]
        return faces_module.faces(min(n, there), self.size, seed=self.seed, start=start)

    def _whole(self, split: str) -> tuple[Tensor, Tensor]:
        if split not in self.drawn:
            self.drawn[split] = self._draw(split, self.count(split))
        return self.drawn[split]

    def first(self, split: str, n: int) -> Tensor:
        """As `ImageSet.first`; no more than n are drawn."""
        return self.drawn[split][0][:n] if split in self.drawn else self._draw(split, n)[0]

    train = property(lambda self: self._whole("train")[0])
    test = property(lambda self: self._whole("test")[0])
    train_factors = property(lambda self: self._whole("train")[1])
    test_factors = property(lambda self: self._whole("test")[1])


def load(
    dataset: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int = 0,
    cache: Path = Path("runs/cache"),
    *,
    least: int = 1,
) -> ImageSet | Faces:
    """The images of `dataset`, "faces" or the path of a folder, a zip, CelebA or an lmdb, at `size` x `size`.

    `n_train` and `n_test` are upper limits, `least` a lower limit of both. A subset is the first so many by a hash
    of the names, so it is representative; `seed` is for the faces only. Folders `train` and `test` (or `val`) are
    the split where there are both; otherwise a hash of the name puts a tenth aside for the test, and not less than
    `least`. CelebA keeps its official split, its validation images in neither part. Images are centre cropped to a
    square (CelebA to 148x148) and resized, enlarged at most twice. A few unreadable ones are skipped.

    Raises RalkitError for a source that is missing, empty, of another kind, too small or too often
    unreadable, and for a cache that cannot be written.
    """
    if size < 16 or size % 4:
        raise RalkitError(f"The image size is {size}: give a multiple of 4 that is 16 or more.")
    if min(n_train, n_test) < least:
        raise RalkitError(f"{n_train} training and {n_test} test images asked for: give {least} or more of each.")
    if dataset == "faces":
        return _faces(size, n_train, n_test, seed)
    return _load_files(dataset, size, {"train": n_train, "test": n_test}, Path(cache), least)


def faces_key(size: int, n_train: int, n_test: int, seed: int = 0) -> str:
    """The key that `load` gives the faces, without drawing them."""
    return _hash("faces", faces_module.DRAWING_RECIPE, size, n_train, n_test, seed)


_faces = lru_cache(maxsize=2)(Faces)  # worlds of the same faces share them


def _load_files(dataset: str, size: int, counts: dict[str, int], cache: Path, least: int) -> ImageSet:
    path, partition = locate(dataset)
    name = "celeba" if partition else shown(path.stem if path.is_file() else path.name)
    source = _hash(FORMAT, fingerprint(path), partition and fingerprint(partition), size, counts, least)
    # The name is cut: one of 255 bytes leaves no room for what follows it.
    files = {split: cache / f"{name[:40]}-{size}-{source}.{split}.npy" for split in counts}
    cached = {split: open_cache(file, size) for split, file in files.items()}
    if None in cached.values():
        with open_source(path) as (names, read):
            chosen = _choose(names, partition, counts, path, least)
            for split in counts:
                if cached[split] is None:
                    crop = CELEBA_CROP if partition else None
                    fill_cache(files[split], f"{name} {split}", read, chosen[split], size, crop)
                    cached[split] = open_cache(files[split], size)
    (train, of_train), (test, of_test) = cached.values()
    if min(len(train), len(test)) < least:
        raise _too_few(
            f"{len(train)} training and {len(test)} test image(s) that can be read", path, f"{least} of each"
        )
    if len(train) < counts["train"] or len(test) < counts["test"]:
        there = f"{len(train)} of {counts['train']} train and {len(test)} of {counts['test']} test"
        print(f"{name}: fewer images than asked for, so these are all: {there} images.")
    return ImageSet(name, size, train, test, None, None, _hash(of_train, of_test))


def _hash(*what) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


# ---- Which images, in which split ----


def _choose(names: Callable, partition: Path | None, counts: dict[str, int], path: Path, least: int) -> dict[str, list]:
    """The names of each split, at least `least` and at most `counts` of them, in the order of their hash."""
    if not any(True for _ in names()):
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise RalkitError(f"No images in {shown(path)}: give a folder or zip of {kinds} files, or an lmdb of them.")
    split_of = _official_split(partition, names, path) if partition else _folder_split(names()) or _hash_split

    def first(split: str) -> list:
        chosen = (name for name in names() if split_of(name) == split)
        return heapq.nsmallest(counts[split] + least, chosen, key=_rank)

    train, test = first("train"), first("test")
    found = f"{len(train)} training and {len(test)} test image(s)"
    if split_of is _hash_split:  # the tenth of a small set is too few to measure with
        both = test + train
        if len(both) < 2 * least:
            raise _too_few(f"{len(both)} image(s)", path, f"{2 * least} ({least} to train on, {least} to test on)")
        cut = max(least, min(len(test), len(both) - least))
        train, test = both[cut:], both[:cut]
    if min(len(train), len(test)) < least:
        raise _too_few(found, path, f"{least} of each")
    return {"train": train[: counts["train"]], "test": test[: counts["test"]]}


def _too_few(found: str, path: Path, needed: str) -> RalkitError:
    return RalkitError(f"{shown(path)} has {found}, but training and the metrics need {needed} or more: add images.")


def _rank(name: str | bytes) -> float:
    """A hash of the name, even in [0, 1)."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _hash_split(name: str | bytes) -> str:
    return "test" if _rank(name) < TEST_SHARE else "train"


def _folder_split(names: Iterable) -> Callable | None:
    """The split that folders called train and test (or val) make, or None where there are no such folders."""

    def folder(name: str | bytes) -> str | None:
        # The key of an lmdb is in no folder.
        return None if isinstance(name, bytes) else split_folder(PurePosixPath(name).parts[:-1])

    found = {folder(name) for name in names}
    held_out = "test" if "test" in found else "val"
    if not {"train", held_out} <= found:
        return None
    return lambda name: {"train": "train", held_out: "test"}.get(folder(name))


def _official_split(partition: Path, names: Callable, path: Path) -> Callable:
    """CelebA's own split, by file name; None for its validation images and for files it does not list."""
    split_of = {}
    try:
        lines = partition.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RalkitError(f"{shown(partition)} cannot be read ({error.strerror}): make it readable.") from error
    for number, line in enumerate(lines, start=1):
        match line.split():
            case [name, ("0" | "1" | "2") as part]:
                split_of[name] = {"0": "train", "1": None, "2": "test"}[part]
            case [_, *_]:
                raise RalkitError(f"{shown(partition)}, line {number}: {line[:40]!r} is not like '000001.jpg 0'.")
    if not any(PurePosixPath(name).name in split_of for name in names()):
        image, first = next(iter(names())), next(iter(split_of), "no file")
        raise RalkitError(
            f"{shown(partition)} lists none of the images in {shown(path)} (it begins with {first!r}, they with "
            f"{image!r}): put there the list that belongs to these images."
        )
    return lambda name: split_of.get(PurePosixPath(name).name)
