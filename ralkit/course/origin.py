"""Where the figures and tables of a folder come from: origin.json says what they share, each .json what differs."""

import hashlib
import json
from pathlib import Path
from typing import Any

from .. import store

Origin = dict[str, Any]
NAME = "origin.json"
OWN = ("seconds", "commit")  # always of one figure
UNKNOWN: Origin = {
    "preset": "unknown", "configuration": {}, "world": "unknown", "weights": "unknown", "features": "unknown",
    "fitting": {}, "seeds": [],
    "dataset": {"name": "unknown", "size": "unknown", "train": "unknown", "test": "unknown"}, "device": "unknown",
    "versions": {"ralkit": "unknown", "torch": "unknown", "python": "unknown"},
}  # fmt: skip


def shared(folder: Path) -> Origin | None:
    """What the folder's origin.json says, or None where it is missing or damaged."""
    try:
        origin = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return origin if isinstance(origin, dict) else None
    except (OSError, ValueError):
        return None


def write_shared(folder: Path, origin: Origin) -> None:
    """Make the folder's origin.json of an origin, without what is always of one figure."""
    content = json.dumps({k: v for k, v in origin.items() if k not in OWN}, indent=1)
    store.write_bytes(folder / NAME, f"{content}\n".encode())


def without_shared(origin: Origin, of_all: Origin) -> Origin:
    """What an origin has that `of_all` has not, with a digest of `of_all` that says which one it was."""
    origin = json.loads(json.dumps(origin))  # tuples are lists in a file
    own = _differing(origin, of_all)
    return own | {"shared": _digest(of_all)} if _joined(of_all, own) == origin else origin


def whole(own: Origin, of_all: Origin | None) -> Origin:
    """An origin from what its figure's .json says and the folder's origin.json; *unknown* where that is another one."""
    if "shared" not in own:
        return own
    rest = {k: v for k, v in own.items() if k != "shared"}
    return _joined(of_all if is_known(own, of_all) else UNKNOWN, rest)


def is_known(own: Origin, of_all: Origin | None) -> bool:
    """Whether what a figure shares with others is what the folder's origin.json says."""
    return "shared" not in own or (of_all is not None and own["shared"] == _digest(of_all))


def _digest(origin: Origin) -> str:
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]


def _differing(a: Origin, b: Origin) -> Origin:
    """What of `a` is not in `b`, dictionaries within taken apart."""
    nested = {k: isinstance(v, dict) and isinstance(b.get(k), dict) for k, v in a.items()}
    different = {k: v for k, v in a.items() if k not in b or v != b[k]}
    return {k: _differing(v, b[k]) if nested[k] else v for k, v in different.items()}


def _joined(b: Origin, own: Origin) -> Origin:
    inner = {k: _joined(b[k], v) if isinstance(v, dict) and isinstance(b.get(k), dict) else v for k, v in own.items()}
    return b | inner
