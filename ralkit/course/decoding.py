"""The bytes of a picture in; a square uint8 array out, or the reason why they cannot be read."""

import io
from collections.abc import Callable

import numpy as np

from ..errors import RalkitError

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of a TIFF
WHITE_IS_ZERO = 0  # a value of the second


def decode(read: Callable, size: int, crop: int | None, name: str | bytes) -> np.ndarray | str:
    """The picture read(name), cropped to its central square and resized, or why it cannot be read.

    The array is uint8 (3, size, size). `crop` is the square's side in pixels (default: the shorter side). Raises
    RalkitError if the square would have to be enlarged more than twice.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(read(name))) as image:
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                image = Image.fromarray(_grey(image))  # convert("RGB") would cut at 255 what is lighter
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


def _grey(image) -> np.ndarray:
    """The grey picture, of more than 8 bits a pixel, scaled to uint8 (H, W); raises ValueError if its range is unknown.

    Whole numbers of 16 bits (12 in some TIFFs) fill their range and floats lie in [0, 1], as programs save them.
    """
    tags, values = getattr(image, "tag_v2", {}), np.asarray(image)
    if image.mode.startswith("I;16"):
        white = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    elif image.mode == "F" and values.min() >= 0 and values.max() <= 1:
        white = 1
    else:
        kind = "floats outside [0, 1]" if image.mode == "F" else "32-bit whole numbers"
        raise ValueError(f"{kind}, which do not say what is white: save it with 8 or 16 bits")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = white - values
    return (values * (255 / white) + 0.5).astype(np.uint8)
