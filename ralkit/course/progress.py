"""How far trainings are: a line now and then on a terminal; in a notebook one table, drawn again in its place."""

import re
import sys
import threading
import time
from dataclasses import dataclass, field

from ..training import History

PRINTED, DRAWN = 20.0, 1.0  # seconds between two lines on a terminal, and between two drawings of a table
LINE = re.compile(r"(.+?)  (\d+)/(\d+)  (\d+) s  (.*)")  # what `Training.line` makes


@dataclass
class Training:
    """A training as a row of the table: how far it is, and its first numbers, from the first point to the last."""

    name: str
    t: int
    steps: int
    seconds: float = 0.0
    numbers: str = ""
    seen: float = field(default_factory=time.monotonic)  # when that was so

    @property
    def done(self) -> bool:
        return self.t >= self.steps

    def line(self) -> str:
        """The row as a line of a terminal."""
        return f"{self.name}  {self.t}/{self.steps}  {self.seconds:.0f} s  {self.numbers}"

    def cells(self) -> list[str]:
        """The row as the cells of a table; while it trains they have a bar, and the seconds that are left."""
        if self.done:
            return [self.name, f"{self.steps} steps", f"{self.seconds:.0f} s", self.numbers]
        bar = "█" * (10 * self.t // self.steps)
        left = f", {self.seconds * (self.steps / self.t - 1):.0f} s left" if self.t else ""
        return [self.name, f"{bar:·<10} {self.t}/{self.steps}", f"{self.seconds:.0f} s{left}", self.numbers]


def numbers_of(history: History, count: int = 3) -> str:
    """The first numbers of a curve, those that `fit` evaluates before those it logs: first value → last value."""

    def shown(key: str, values: list[float]) -> str:
        first, last = (f"{v:.4g}" for v in (values[0], values[-1]))
        return f"{key} {first} → {last}" if len(values) > 1 else f"{key} {last}"

    keys = [key for key in history if key not in ("step", "seconds") and not key.endswith("_se")][:count]
    return ", ".join(shown(key, history[key]) for key in keys)


class Progress:
    """What this process trains, by name, as long as one cell of a notebook runs."""

    def __init__(self):
        self.rows: dict[str, Training] = {}
        self.cell: int | None = None  # the number of the cell that the table stands under
        self.table = None  # its handle
        self.printed = self.drawn = -float("inf")  # when
        self.lock = threading.RLock()

    def point(self, name: str, steps: int, history: History) -> None:
        """Take a point of a training's curve (`on_point` of `training.fit`)."""
        self._take(Training(name, int(history["step"][-1]), steps, history["seconds"][-1], numbers_of(history)))

    def step(self, name: str, t: int, steps: int) -> None:
        """Take a step of a training (`on_step` of `training.fit`)."""
        before, now = self.rows.get(name), time.monotonic()
        if before is not None and 0 < t < steps and now - self.drawn > DRAWN:
            self._take(Training(name, t, steps, before.seconds + now - before.seen, before.numbers))

    def line(self, line: str) -> None:
        """Take a line that another process printed: of one of its trainings, or anything else, which is printed."""
        if found := LINE.fullmatch(line.rstrip("\n")):
            name, t, steps, seconds, numbers = found.groups()
            self._take(Training(name, int(t), int(steps), float(seconds), numbers))
        else:
            print(line, end="", flush=True)

    def _take(self, row: Training) -> None:
        with self.lock:
            kernel, now = _kernel(), time.monotonic()
            if kernel is not None and kernel.execution_count != self.cell:
                self.rows, self.cell, self.table, self.printed = {}, kernel.execution_count, None, -float("inf")
            self.rows[row.name], self.drawn = row, now
            tell = row.done or now - self.printed > PRINTED
            if tell:
                self.printed = now
            if kernel is not None:
                self._draw(row.line() if tell else "")
            elif tell:
                print(row.line(), flush=True)

    def _draw(self, line: str) -> None:
        from IPython.display import display

        table = [row.cells() for row in self.rows.values()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        text = "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
        # A headless run shows the line on its terminal (`execute.Client`); it is not kept in the notebook.
        options = {"raw": True, "transient": {"line": line}}
        if self.table is None:
            self.table = display({"text/plain": text}, display_id=True, **options)
        else:
            self.table.update({"text/plain": text}, **options)


def _kernel():
    """The notebook's kernel that this code runs in, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None


PROGRESS = Progress()
