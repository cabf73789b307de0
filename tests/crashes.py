"""Kill real training with SIGKILL at random moments, again and again, and compare what is left with a run of one piece.

    python tests/crashes.py --times 20

In half of the times two processes race for the same artefacts. Prints what it found, and exits with 1 if a weight
differs in one bit, if anything was trained twice after it was there, or if a command did not end.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ralkit import store

METHODS = ("MLE", "RAL intermediate")
LIMIT = 600  # seconds that a command may take


def command(root: Path) -> list[str]:
    """Train the oracle world, the generator and RAL at smoke size, saving after every step."""
    train = [sys.executable, "-m", "ralkit", "train", "--preset", "smoke", "--root", str(root), "--save-minutes", "0"]
    return train + [word for method in METHODS for word in ("--method", method, "--generator", "1")]


def begin(root: Path) -> subprocess.Popen:
    """Start the command in a process group of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    output = subprocess.DEVNULL
    return subprocess.Popen(command(root), env=environment, stdout=output, stderr=output, start_new_session=True)


def weights(root: Path) -> dict[str, torch.Tensor]:
    """All tensors in the project's artefacts, by file and name."""
    found = {}

    def collect(name: str, content: object) -> None:
        if isinstance(content, torch.Tensor):
            found[name] = content
        elif isinstance(content, dict):
            for key, value in content.items():
                collect(f"{name}/{key}", value)

    for path in sorted((root / "runs/smoke/artefacts").glob("*.pt")):
        content = store.read(path)["content"]
        collect(path.name, content.get("states", content) if isinstance(content, dict) else content)
    for path in sorted((root / "runs/smoke/artefacts").glob("*.int16")):
        found[path.name] = torch.tensor(list(path.read_bytes()), dtype=torch.uint8)
    return found


def crash(root: Path, seconds: float, racers: int) -> int:
    """Kill the command, started `racers` times at once, at random moments until it ends by itself; count the kills."""
    kills = 0
    while True:
        processes = [begin(root) for _ in range(racers)]
        victim, moment = random.choice(processes), time.monotonic() + random.uniform(0.1, 1.0) * seconds
        while time.monotonic() < moment and victim.poll() is None:
            time.sleep(0.01)
        killed = victim.poll() is None
        if killed:
            os.killpg(victim.pid, signal.SIGKILL)
            kills += 1
        status = [p.wait(LIMIT) for p in processes]
        if any(s != 0 for p, s in zip(processes, status, strict=True) if not (killed and p is victim)):
            raise SystemExit(f"a command that was not killed ended with {status}")
        if not killed or racers > 1:  # the other one finished the work
            return kills


def main() -> None:
    """Crash as often as asked and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        began = time.monotonic()
        if begin(whole).wait(LIMIT) != 0:
            raise SystemExit(f"the command fails by itself: {' '.join(command(whole))}")
        seconds, expected = time.monotonic() - began, weights(whole)
        print(f"one piece: {seconds:.1f} s, {len(expected)} tensors", flush=True)
        alike = 0
        for i in range(options.times):
            root, racers = Path(folder, str(i)), 1 + i % 2
            kills = crash(root, seconds, racers)
            found = weights(root)
            same = found.keys() == expected.keys() and all(torch.equal(found[k], v) for k, v in expected.items())
            alike += same
            print(f"{i + 1}: {racers} at once, {kills} killed, {'the same bits' if same else 'DIFFERENT'}", flush=True)
    print(f"{alike} of {options.times} end with the same bits")
    sys.exit(alike != options.times)


if __name__ == "__main__":
    main()
