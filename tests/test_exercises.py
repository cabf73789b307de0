"""What a reader is told about an answer."""

import pytest
import torch

from ralkit.course.exercises import check


@pytest.mark.parametrize(
    ("answer", "right", "within", "said"),
    [
        (None, 3.0, 1, "No answer yet"),
        (3.4, 3.0, 0.5, "Right"),
        (torch.tensor(2.6), 3.0, 0.5, "Right"),
        (3.6, 3.0, 0.5, "Not yet"),
        ("three", 3.0, 0.5, "Not yet"),
        ("entropy", "entropy", 0, "Right"),
        ("Entropy", "entropy", 0, "Not yet"),
        (True, True, 0, "Right"),
        (False, True, 0, "Not yet"),
    ],
)
def test_an_answer_is_judged(answer, right, within, said, capsys):
    check(answer, right, within)
    assert capsys.readouterr().out.startswith(said)
