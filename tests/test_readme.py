"""README's code runs as it stands, and its stranger is the one that is tested."""

import inspect
import re
from pathlib import Path

import torch
from test_stranger import TransformerPrior

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_code_of_the_readme_runs(capsys):
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names := {"__name__": "readme"})
    logs = capsys.readouterr().out
    assert "prior_loss" in logs and "nan" not in logs
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in names["priors"][0].parameters())
    assert isinstance(names["real_codes"][0], torch.Tensor)


def test_the_stranger_is_the_one_that_is_tested():
    assert inspect.getsource(TransformerPrior) in README
