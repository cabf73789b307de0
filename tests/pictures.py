"""Sets of small pictures for the tests of the readers."""

import zipfile
from pathlib import Path

import lmdb
import numpy as np
import torch
from PIL import Image

from ralkit.course import data


def picture(i: int, width: int = 20, height: int = 16) -> np.ndarray:
    """A picture that no other index has, uint8 (height, width, 3)."""
    return np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_picture(path: Path, i: int, **shape) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(i, **shape)).save(path)
    return path


def write_pictures(root: Path, n: int, start: int = 0) -> Path:
    for i in range(start, start + n):
        write_picture(root / f"{i}.png", i)
    return root


def zip_folder(root: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root.parent))
    return file


def write_lmdb(root: Path, n: int) -> Path:
    with lmdb.open(bytes(root), map_size=2**24, lock=False) as env, env.begin(write=True) as transaction:
        for i in range(n):
            file = write_picture(root.with_name("one.webp"), i, width=20 + 4 * (i % 2), height=16)
            transaction.put(b"\xff\x00key%d" % i, file.read_bytes())
    return root


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def centre(i: int) -> bytes:
    """What `picture(i)` is after the crop to 16x16, in the order of an ImageSet."""
    return picture(i)[:, 2:18].transpose(2, 0, 1).tobytes()


def centres(numbers) -> set[bytes]:
    return {centre(i) for i in numbers}


def write_photos(root: Path) -> Path:
    """24 images in a folder with sub-folders, beside what is no image."""
    for i in range(24):
        write_picture(root / f"{'ab'[i % 2]}/{i:02}.png", i)
    (root / "notes.txt").write_text("not an image")
    (root / "a/._00.png").write_bytes(b"what macOS leaves behind")
    return root


def load_into(cache: Path, dataset: str | Path, size=16, n_train=100, n_test=100, **options) -> data.ImageSet:
    return data.load(str(dataset), size, n_train, n_test, cache=cache, **options)
