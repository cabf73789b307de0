"""Images in: the procedural faces, a folder, a zip, CelebA or an LSUN lmdb; out: square uint8 tensors.

Real images are decoded once into a memory-mapped file: a set larger than memory costs nothing to open again.
"""

import hashlib
import heapq
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import lmdb
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm.auto import tqdm

from ralkit.course import faces as faces_module
from ralkit.errors import RalkitError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
TEST_START = 1_000_000  # the test faces start at this index, out of reach of the training faces
TEST_SHARE = 0.1  # of a set that comes without its own split
CELEBA_CROP = 148  # the centre of a 178x218 aligned picture that papers on CelebA use
BATCH = 256  # images decoded at a time: what bounds the memory
FORMAT = 2  # raise it when the same source is to give other pixels, or the cache has another form
DIGEST = 16  # bytes at the end of a cached file that identify its pixels


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


def load(
    dataset: str, size: int, n_train: int, n_test: int, seed: int = 0, cache: Path = Path("runs/cache")
) -> ImageSet:
    """The images of `dataset`, "faces" or the path of a folder, a zip, CelebA or an lmdb, at `size` x `size`.

    `n_train` and `n_test` are upper limits. A subset is the first so many by a hash of the names, so it
    is representative; `seed` is for the faces only. Folders `train` and `test` (or `val`) are the split
    where there are both; otherwise a hash of the name puts a tenth aside for the test. CelebA keeps its
    official split, its validation images in neither part. Images are centre cropped to a square (CelebA
    to 148x148) and resized, enlarged at most twice. A few unreadable ones are skipped.

    Raises RalkitError for a source that is missing, empty, of another kind, too small or too often
    unreadable, and for a cache that cannot be written.
    """
    if size < 16 or size % 4:
        raise RalkitError(f"The image size is {size}: give a multiple of 4 that is 16 or more.")
    if min(n_train, n_test) < 1:
        raise RalkitError(f"{n_train} training and {n_test} test images asked for: give 1 or more of each.")
    if dataset == "faces":
        return _draw_faces(size, n_train, n_test, seed)
    return _load_files(dataset, size, {"train": n_train, "test": n_test}, Path(cache))


def _draw_faces(size: int, n_train: int, n_test: int, seed: int) -> ImageSet:
    train, train_factors = faces_module.faces(n_train, size, seed=seed)
    test, test_factors = faces_module.faces(n_test, size, seed=seed, start=max(TEST_START, n_train))
    drawn_by = Path(faces_module.__file__).read_text(encoding="utf-8")  # other drawing code, another data set
    key = _hash("faces", drawn_by, size, n_train, n_test, seed)
    return ImageSet("faces", size, train, test, train_factors, test_factors, key)


def _load_files(dataset: str, size: int, counts: dict[str, int], cache: Path) -> ImageSet:
    path, partition = _locate(dataset)
    name = "celeba" if partition else path.stem if path.is_file() else path.name
    source = _hash(FORMAT, _fingerprint(path), partition and _fingerprint(partition), size, counts)
    files = {split: cache / f"{name}-{size}-{source}.{split}.npy" for split in counts}
    cached = {split: _open_cache(file, size) for split, file in files.items()}
    if None in cached.values():
        with _open_source(path) as (names, read):
            chosen = _choose(names, partition, counts, path)
            for split in counts:
                if cached[split] is None:
                    crop = CELEBA_CROP if partition else None
                    _fill_cache(files[split], f"{name} {split}", read, chosen[split], size, crop)
                    cached[split] = _open_cache(files[split], size)
    (train, of_train), (test, of_test) = cached.values()
    if len(train) < counts["train"] or len(test) < counts["test"]:
        there = f"{len(train)} of {counts['train']} train and {len(test)} of {counts['test']} test"
        print(f"{name}: fewer images than asked for, so these are all: {there} images.")
    return ImageSet(name, size, train, test, None, None, _hash(of_train, of_test))


# ---- Where the images are ----


def _locate(dataset: str) -> tuple[Path, Path | None]:
    """The folder or zip that holds the images and, for CelebA, the file with its official split."""
    path = Path(dataset).expanduser().resolve()
    if not path.exists():
        raise RalkitError(f"No data set {dataset!r}: give 'faces', or the path of a folder or zip of images.")
    inside = ["img_align_celeba", "img_align_celeba.zip", "Img/img_align_celeba", "Img/img_align_celeba.zip"]
    path = next((path / name for name in inside if (path / name).exists()), path)
    if path.stem != "img_align_celeba":
        return path, None
    # Beside the images, in their folder, one up, or in the folder in which CelebA's authors publish it.
    folders = [path] * path.is_dir() + [path.parent, path.parent.parent, path.parent.parent / "Eval"]
    for folder in folders:
        if (folder / "list_eval_partition.txt").is_file():
            return path, folder / "list_eval_partition.txt"
    looked = ", ".join(map(str, folders))
    raise RalkitError(f"CelebA's list_eval_partition.txt is missing: put it in one of {looked}.")


def _image_files(folder: Path) -> Iterator[str]:
    """Paths of all images below `folder`, relative to it, in a fixed order."""
    for root, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        below = root[len(str(folder)) + 1 :].replace(os.sep, "/")
        for file in sorted(files):
            if _is_image(file) and os.path.isfile(os.path.join(root, file)):  # not a link that leads nowhere
                yield f"{below}/{file}" if below else file


def _is_image(name: str) -> bool:
    # macOS puts a "._x.jpg" beside each "x.jpg" of a zip, and that is no image.
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith(".")


def _fingerprint(path: Path) -> str:
    """Changes whenever a file of the source is added, removed or written; reads no file."""
    digest = hashlib.blake2b(os.fsencode(path))
    if not path.is_dir():
        path, names = path.parent, [path.name]
    elif (path / "data.mdb").is_file():
        names = ["data.mdb"]
    else:
        names = _image_files(path)
    for name in names:
        stat = os.stat(f"{path}/{name}")
        digest.update(os.fsencode(name) + f" {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _hash(*what) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


# ---- Folder, zip and lmdb behind one face ----


@contextmanager
def _open_source(path: Path) -> Iterator[tuple[Callable, Callable]]:
    """Two functions: one lists the names of all images afresh, one reads the encoded bytes of a name."""
    if (path / "data.mdb").is_file():
        try:
            with lmdb.open(str(path), readonly=True, lock=False, readahead=False) as env:
                _check_length(env, path / "data.mdb")
                yield partial(_lmdb_keys, env), partial(_lmdb_value, env)
        except lmdb.Error as error:
            raise RalkitError(f"{path} is not a readable lmdb ({error}): copy or unpack it again.") from error
    elif path.is_dir():
        files = list(_image_files(path))
        yield lambda: files, lambda name: (path / name).read_bytes()
    else:
        with _open_zip(path) as archive:
            files = list(filter(_is_image, archive.namelist()))
            yield lambda: files, archive.read


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # what a damaged directory raises depends on the damage
        raise RalkitError(
            f"{path} is not a zip, or not all of one ({error}): give a folder or a complete zip of images."
        ) from error


def _check_length(env: lmdb.Environment, file: Path) -> None:
    there, needed = file.stat().st_size, (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if there < needed:  # lmdb would read past the end, and that kills the process
        raise RalkitError(f"{file} is cut short ({there} of {needed} bytes): copy or unpack it again.")


def _lmdb_keys(env: lmdb.Environment) -> Iterator[bytes]:
    with env.begin() as transaction:
        yield from transaction.cursor().iternext(keys=True, values=False)


def _lmdb_value(env: lmdb.Environment, key: bytes) -> bytes:
    with env.begin() as transaction:
        return transaction.get(key)


# ---- Which images, in which split ----


def _choose(names: Callable, partition: Path | None, counts: dict[str, int], path: Path) -> dict[str, list]:
    """The names of each split, at most `counts` of them, in the order of their hash."""
    split_of = _official_split(partition) if partition else _folder_split(names()) or _hash_split

    def first(split: str, n: int) -> list:
        return heapq.nsmallest(n, (name for name in names() if split_of(name) == split), key=_rank)

    train, test = first("train", counts["train"] + 1), first("test", counts["test"])
    if not test and split_of is _hash_split:  # a handful of images, and none with a hash in the test share
        train, test = train[1:], train[:1]
    if not train and not test:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise RalkitError(f"No images in {path}: give a folder or zip of {kinds} files, or an lmdb of them.")
    if not train or not test:
        found = f"{len(train)} training and {len(test)} test image(s)"
        raise RalkitError(f"{found} in {path}: add images until there is at least one of each.")
    return {"train": train[: counts["train"]], "test": test}


def _rank(name: str | bytes) -> float:
    """A hash of the name, even in [0, 1)."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _hash_split(name: str | bytes) -> str:
    return "test" if _rank(name) < TEST_SHARE else "train"


def _folder_split(names: Iterable) -> Callable | None:
    """The split that folders called train and test (or val) make, or None where there are no such folders."""

    def folder(name: str | bytes) -> str | None:
        if isinstance(name, bytes):  # the key of an lmdb
            return None
        parts = PurePosixPath(name).parts[:-1]
        return next((part for part in parts if part in ("train", "test", "val")), None)

    found = {folder(name) for name in names}
    held_out = "test" if "test" in found else "val"
    if not {"train", held_out} <= found:
        return None
    return lambda name: {"train": "train", held_out: "test"}.get(folder(name))


def _official_split(partition: Path) -> Callable:
    """CelebA's own split, by file name; None for its validation images and for files it does not list."""
    split_of = {}
    for number, line in enumerate(partition.read_text(errors="replace").splitlines(), start=1):
        match line.split():
            case [name, ("0" | "1" | "2") as part]:
                split_of[name] = {"0": "train", "1": None, "2": "test"}[part]
            case [_, *_]:
                raise RalkitError(f"{partition}, line {number}: {line[:40]!r} is not like '000001.jpg 0'.")
    return lambda name: split_of.get(PurePosixPath(name).name)


# ---- The cache of decoded images ----


def _open_cache(file: Path, size: int) -> tuple[Tensor, bytes] | None:
    """The cached images, read as they are used, and their digest; None where there is no file, or not all of one."""
    if not file.exists():
        return None
    try:
        array = np.lib.format.open_memmap(file, mode="c")  # the tensor may be written to, the file never is
        fits = array.dtype == np.uint8 and array.shape[1:] == (3, size, size) and len(array) > 0
        if fits and array.offset + array.nbytes + DIGEST == file.stat().st_size:
            with open(file, "rb") as end:
                end.seek(-DIGEST, os.SEEK_END)
                return torch.from_numpy(array), end.read()
    except (ValueError, EOFError, OSError):
        pass
    print(f"{file} is damaged: it is made again.")
    return None


def _fill_cache(file: Path, title: str, read: Callable, names: list, size: int, crop: int | None) -> None:
    """Decode `names` into `file`, which appears whole or not at all."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(names), 3, size, size)}
    temporary, digest = file.with_name(f"{file.name}.{os.getpid()}.tmp"), hashlib.blake2b(digest_size=DIGEST)
    start = time.perf_counter()
    bad, most = [], min(max(10, len(names) // 100), len(names) // 2)  # 1 %; ten of a few, half of a handful
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The pool ends first: nothing reads from a source that an error has closed.
        with open(temporary, "wb") as out, ThreadPoolExecutor() as pool:
            np.lib.format.write_array_header_1_0(out, header)
            images = _decode_all(pool, partial(_decode, read, size, crop), names)
            for name, image in tqdm(images, desc=title, total=len(names), unit=" images", leave=False):
                if isinstance(image, np.ndarray):
                    out.write(image)
                    digest.update(image)
                    continue
                bad.append(f"{name!r} ({image})")
                if len(bad) > most:
                    raise RalkitError(f"{title}: {len(bad)} or more images cannot be read, first {bad[0]}.")
            out.write(digest.digest())
            out.seek(0)  # a header keeps its length whatever the count
            header["shape"] = (len(names) - len(bad), 3, size, size)
            np.lib.format.write_array_header_1_0(out, header)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except OSError as error:
        needed = f"{len(names) * 3 * size**2:,} bytes"
        raise RalkitError(
            f"The decoded images ({needed}) cannot be written to {file.parent} ({error.strerror}): "
            "make room there or choose another cache folder."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    if bad:
        more = f" and {len(bad) - 20} more" * (len(bad) > 20)
        print(f"{title}: skipped {len(bad)} unreadable image(s): {', '.join(bad[:20])}{more}.")
    count, seconds = len(names) - len(bad), time.perf_counter() - start
    print(f"{title}: read {count} images at {size}x{size} in {seconds:.1f} s, kept in {file}.")


def _decode_all(pool: ThreadPoolExecutor, decode: Callable, names: list) -> Iterator[tuple]:
    for i in range(0, len(names), BATCH):
        batch = names[i : i + BATCH]
        yield from zip(batch, pool.map(decode, batch), strict=True)


def _decode(read: Callable, size: int, crop: int | None, name: str | bytes) -> np.ndarray | str:
    """The square image, uint8 (3, size, size), or why it cannot be read."""
    try:
        with Image.open(io.BytesIO(read(name))) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image = image.convert("RGB")
    except UnidentifiedImageError:
        return "not an image"
    except Exception as error:  # what a damaged file raises depends on its format
        return " ".join(str(error).split()) or type(error).__name__
    side = min(image.size if crop is None else (*image.size, crop))
    if 2 * side < size:
        raise RalkitError(f"{name!r} has {side} pixels a side, too few for {size}: ask for less, or drop it.")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
