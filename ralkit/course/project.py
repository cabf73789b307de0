"""Where a run of one preset and data set keeps what it makes, and which code made it."""

import functools
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ralkit

from .checks import check_path
from .presets import Preset


def project_root() -> Path:
    """The folder that holds `notebooks/` and `environment.yml`: here or above; else the current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "environment.yml").is_file():
            return folder
    return here


@dataclass(frozen=True)
class Project:
    """The folders of one run of the course."""

    preset: Preset
    dataset: str  # "faces", or an absolute path
    seed: int
    root: Path

    @classmethod
    def of(cls, preset: Preset, dataset: str, seed: int, root: Path | None) -> "Project":
        """The project in `root` (default: the one around the current folder); a relative `dataset` may lie in either.

        It is made absolute, so that it means the same in a notebook, which runs in notebooks/. Raises RalkitError for a
        path that a notebook cannot hold.
        """
        check_path(dataset, "the data set")
        root = Path(root) if root else project_root()
        if dataset and dataset != "faces":
            with suppress(OSError, RuntimeError, ValueError):  # a name that cannot be one is `data.load`'s to refuse
                found = next((p for p in (Path(dataset).expanduser(), root / dataset) if p.exists()), None)
                dataset = os.path.abspath(found) if found else dataset
        return cls(preset, dataset, seed, root)

    @property
    def run(self) -> Path:
        """The folder of everything that is not committed."""
        own = self.dataset == "faces"
        return self.root / "runs" / (self.preset.name if own else f"{self.preset.name}-{Path(self.dataset).stem}")

    @property
    def artefacts(self) -> Path:
        return self.run / "artefacts"

    @property
    def pretrained(self) -> Path:
        """The folder of what is run with frozen worlds, apart from what is run from scratch."""
        return self.run / "pretrained"

    @property
    def frozen(self) -> Path:
        """The folder that frozen worlds are unpacked into, each into its own."""
        return self.pretrained / "artefacts"

    @property
    def figures(self) -> Path:
        """The folder of figures and tables; what is made from somebody's data set stays out of the committed one."""
        return self.root / "figures" / self.preset.name if self.dataset == "faces" else self.run / "figures"

    @property
    def cache(self) -> Path:
        """The folder of decoded images, which all presets share."""
        return self.root / "runs" / "cache"


@functools.cache
def commit_of() -> str:
    """The commit of the running code, with "-dirty" where the code is not the commit's; "unknown" outside git."""
    root = Path(ralkit.__file__).parents[1]

    def git(*words: str) -> str:
        if shutil.which("git") is None:
            return ""
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    # A run writes its figures, and the notebooks' outputs, itself, so only the code is asked about.
    edited = git("status", "--porcelain", "--", "ralkit", "notebooks/py", "environment.yml")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if edited else "")
