"""Checks of what a user may ask for, made before anything slow begins."""

import os

from ..errors import RalkitError

MAX_SEED = 2**31 - 1  # torch takes 64 bits, and seeds are derived from this one by adding to it and multiplying it


def check_seed(seed: int, option: str = "--seed") -> None:
    """Raise RalkitError unless 0 <= seed <= MAX_SEED."""
    if not 0 <= seed <= MAX_SEED:
        raise RalkitError(f"{option} is {seed}; it must be from 0 to {MAX_SEED}")


def check_path(path: str | os.PathLike, what: str) -> None:
    """Raise RalkitError if a path is not UTF-8, because a notebook's file cannot hold it; `what` names the path."""
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text.encode(errors="backslashreplace").decode()
        raise RalkitError(f"{what} {shown} is not valid UTF-8; rename it, or use another") from error
