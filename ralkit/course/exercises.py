"""Exercises: a reader's answer is checked in the cell below the question."""

from typing import Any

_AGAIN = "Not yet: try again, or open the solution below."


def check(answer: Any, right: Any, within: float = 0.0) -> None:
    """Print whether an answer is right: equal, or a number at most `within` away; None is no answer yet."""
    if answer is None:
        print("No answer yet: put yours in place of None, and run this cell again.")
    elif isinstance(right, float):
        try:
            print("Right." if abs(float(answer) - right) <= within else _AGAIN)
        except (TypeError, ValueError):  # no number
            print(_AGAIN)
    else:
        print("Right." if answer == right else _AGAIN)
