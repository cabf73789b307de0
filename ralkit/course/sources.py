"""Where images lie: a folder, a zip, CelebA or an LSUN lmdb, each as a list of names and a way to read one."""

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..errors import RalkitError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SPLITS = ("train", "test", "val")  # names of folders that split a set
LARGEST = 2**28  # bytes of one encoded image; one that has more is not read


def shown(what: object) -> str:
    """Text that prints: a path may hold bytes that are not UTF-8, or a line break."""
    text = str(what)
    return text if text.isprintable() else repr(text)[1:-1]


def locate(dataset: str) -> tuple[Path, Path | None]:
    """The folder or file that holds the images and, for CelebA, the file with its official split.

    Raises RalkitError if there is neither a folder nor a file, and if CelebA's list is missing.
    """
    give = "give 'faces', or the path of a folder or zip of images."
    if not dataset:
        raise RalkitError(f"The data set's name is empty: {give}")
    inside = ["img_align_celeba", "img_align_celeba.zip", "Img/img_align_celeba", "Img/img_align_celeba.zip"]
    try:
        path = Path(dataset).expanduser().resolve()
        path.stat()
        path = next((path / name for name in inside if (path / name).exists()), path)
    except FileNotFoundError:
        raise RalkitError(f"No data set {dataset!r}: {give}") from None
    except (OSError, RuntimeError, ValueError) as error:  # no right to look, a loop of links, a zero byte, ...
        why = shown(getattr(error, "strerror", None) or error)
        raise RalkitError(f"No data set {dataset!r} ({why}): {give}") from error
    if not path.is_dir() and not path.is_file():  # to open a pipe would wait for whoever writes into it
        raise RalkitError(f"{shown(path)} is a pipe, a socket or a device: {give}")
    if path.stem != "img_align_celeba":
        return path, None
    # Beside the images, in their folder, one up, or in the folder in which CelebA's authors publish it.
    folders = [path] * path.is_dir() + [path.parent, path.parent.parent, path.parent.parent / "Eval"]
    for folder in folders:
        if (folder / "list_eval_partition.txt").is_file():
            return path, folder / "list_eval_partition.txt"
    looked = ", ".join(map(shown, folders))
    raise RalkitError(f"CelebA's list_eval_partition.txt is missing: put it in one of {looked}.")


def split_folder(parts: Iterable[str]) -> str | None:
    """The first of the folders `parts` that is called train, test or val."""
    return next((part for part in parts if part in SPLITS), None)


def fingerprint(path: Path) -> str:
    """Changes whenever a file of the source is added, removed or written; reads no file."""
    digest = hashlib.blake2b(os.fsencode(path))
    if not path.is_dir():
        files = [(path.name, path.stat())]
    elif (path / "data.mdb").is_file():
        files = [("data.mdb", (path / "data.mdb").stat())]
    else:
        files = image_files(path)
    for name, status in files:
        digest.update(os.fsencode(name) + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


# ---- A folder ----


def image_files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Paths of all images below `folder`, relative to it, in a fixed order; a file that links lead to counts once.

    Of several paths to one folder the path counts that goes through a folder called train, test or val, and among
    those the one without links. Raises RalkitError for a folder that cannot be listed.
    """
    ranks: dict[object, tuple[bool, bool, str]] = {}
    waiting = [("", False)]
    while waiting:
        below, linked = waiting.pop()
        place, rank = folder / below, (split_folder(below.split("/")) is None, linked, below)
        identity = _identity(place, os.stat(place))
        if identity in ranks and ranks[identity][:2] <= rank[:2]:
            continue
        ranks[identity] = rank
        folders = filter(_is_folder, reversed(_entries(place)))
        waiting += [(_join(below, entry.name), linked or entry.is_symlink()) for entry in folders]
    seen = set()
    for *_, below in sorted(ranks.values()):
        for entry in _entries(folder / below):
            if not _is_image(entry.name):
                continue
            try:
                status = os.stat(entry)
            except OSError:  # a link that leads nowhere
                continue
            identity = _identity(entry, status)
            if stat.S_ISREG(status.st_mode) and identity not in seen:  # to read a pipe would wait for its writer
                seen.add(identity)
                yield _join(below, entry.name), status


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise RalkitError(
            f"{shown(folder)} cannot be listed ({error.strerror}): make it readable, or move it out of the data set."
        ) from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(path: os.PathLike, status: os.stat_result) -> object:
    """Equal for two paths that lead to the same file or folder; some file systems have no inodes."""
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name


def _is_image(name: str) -> bool:
    # macOS puts a "._x.jpg" beside each "x.jpg" of a zip, and that is no image.
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith(".")


# ---- Folder, zip and lmdb behind one face ----


@contextmanager
def open_source(path: Path) -> Iterator[tuple[Callable, Callable]]:
    """Two functions: one lists the names of all images afresh, one reads the encoded bytes of a name.

    Raises RalkitError for a file that is no zip and a folder whose data.mdb is no whole lmdb. The reader raises
    ValueError for an image of more than LARGEST bytes, without reading it, and whatever else a damaged one leads to.
    """
    if (path / "data.mdb").is_file():
        with _open_lmdb(path) as env:
            yield partial(_lmdb_keys, env), partial(_lmdb_value, env)
    elif path.is_dir():
        files = [name for name, _ in image_files(path)]
        yield lambda: files, partial(_read_file, path)
    else:
        with _open_zip(path) as archive:
            files = list(filter(_is_image, dict.fromkeys(archive.namelist())))  # a zip may list a name twice
            yield lambda: files, partial(_read_entry, archive)


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes, more than the {LARGEST:,} of the largest image that is read")


def _read_file(folder: Path, name: str) -> bytes:
    _check_size((folder / name).stat().st_size)
    return (folder / name).read_bytes()


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # what a damaged directory raises depends on the damage
        raise RalkitError(
            f"{shown(path)} is not a zip, or not all of one ({shown(error)}): "
            "give a folder or a complete zip of images."
        ) from error


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    _check_size(entry.file_size)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Python unpacks the other kinds whole, and a kilobyte of them can become a gigabyte.
        raise ValueError(f"zip method {entry.compress_type}: pack the images by the usual one, deflate")
    with archive.open(entry) as stream:
        return stream.read(entry.file_size)  # however many bytes follow those declared


@contextmanager
def _open_lmdb(path: Path) -> Iterator:
    import lmdb

    try:
        # The path as bytes: lmdb takes no text that is not UTF-8.
        with lmdb.open(os.fsencode(path), readonly=True, lock=False, readahead=False) as env:
            file = path / "data.mdb"
            there, needed = file.stat().st_size, (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            if there < needed:  # lmdb would read past the end, and that kills the process
                raise RalkitError(f"{shown(file)} is cut short ({there} of {needed} bytes): copy or unpack it again.")
            yield env
    except lmdb.Error as error:
        raise RalkitError(f"{shown(path)} is not a readable lmdb ({shown(error)}): copy or unpack it again.") from error


def _lmdb_keys(env) -> Iterator[bytes]:
    with env.begin() as transaction:
        yield from transaction.cursor().iternext(keys=True, values=False)


def _lmdb_value(env, key: bytes) -> bytes:
    with env.begin(buffers=True) as transaction:
        value = transaction.get(key)
        _check_size(len(value))
        return bytes(value)
