"""Memory that a set as large as LSUN's bedrooms takes: decoding it into the cache, its codes, training on both.

The set is an lmdb of `count` entries, all the same 16x16 picture: what grows with a set is its index and its codes. The
pictures themselves and the codes lie on the disk and are mapped: pages of a file that the system takes back when it
needs them are not counted.
"""

import io
import multiprocessing
import tempfile
from dataclasses import replace
from pathlib import Path

import lmdb
from PIL import Image

from ralkit.course.presets import ImageConfig, LevelsConfig, get_preset
from ralkit.course.study import Study
from ralkit.course.world import World

from . import common

SIZE = 16


def write_lmdb(folder: Path, count: int) -> None:
    """An lmdb like LSUN's: keys of 40 characters, values the bytes of a picture."""
    picture = io.BytesIO()
    Image.effect_noise((SIZE, SIZE), 64).convert("RGB").save(picture, "bmp")
    with lmdb.open(str(folder), map_size=2**36) as env, env.begin(write=True) as transaction:
        for i in range(count):
            transaction.put(f"{i:040x}".encode(), picture.getvalue(), append=True)


def main() -> None:
    """Go through the stages, write the table."""
    chosen = common.options(__doc__, count=(int, 3_033_042, "images; LSUN's bedrooms by default"))
    smoke = get_preset("smoke")
    two: LevelsConfig = replace(smoke.images.two, ral=replace(smoke.images.two.ral, critic_stages=2))
    held_out = min(20_000, chosen.count // 20)
    images: ImageConfig = replace(smoke.images, size=SIZE, n_train=chosen.count, n_test=held_out, two=two)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "lmdb"
        writer = multiprocessing.get_context("spawn").Process(target=write_lmdb, args=(source, chosen.count))
        writer.start()  # a process of its own: what it holds is not counted
        writer.join()
        world = World(replace(smoke, images=images), str(source), root=Path(folder), levels=2)
        with common.watched(rows, "decoding into the cache"):
            n = len(world.images.train)
        with common.watched(rows, "VQ-VAE-2"):
            world.vqvae.eval()
        with common.watched(rows, "codes of all images"):
            (top, bottom) = world.codes["train"]
        with common.watched(rows, "both priors, RAL"):
            Study(world).generator("RAL intermediate", 1)
        on_disk = sum(file.stat().st_size for file in world.project.artefacts.glob("*.int16")) / 2**20
    per_image = top[0].numel() + bottom[0].numel()
    about = (
        f"{n:,} training images of {SIZE}x{SIZE}, {per_image} codes each ({on_disk:.0f} MiB on the disk). "
        "Memory: that of the process itself, without the mapped files' pages."
    )
    common.report("large_set", rows, chosen.device, about)


if __name__ == "__main__":
    common.run(main)
