"""The command line as tests run it, in a project folder of one notebook."""

import shutil
from pathlib import Path

import nbformat

from ralkit import __main__ as cli

ROOT = Path(__file__).parents[1]


def project_in(root, *code):
    """A project folder whose one notebook has these cells."""
    parameters = 'preset = "smoke"\ndataset = "faces"\nseed = 1\npretrained = True'
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (root / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "environment.yml", root)
    nbformat.write(notebook, root / "notebooks/07_only.ipynb")
    return root


def runner(monkeypatch, capfd):
    """A function that runs the command line in `cwd` and returns its status, stdout and stderr."""

    def run(*arguments, cwd=ROOT):
        monkeypatch.chdir(cwd)
        status = cli.main([str(a) for a in arguments])
        return status, *capfd.readouterr()

    return run


def sentence(result):
    """The one line on stderr of a command that failed as it should."""
    status, _, err = result
    assert status == 2, err
    assert err.startswith("ralkit: ") and err.count("\n") == 1, err
    return err.rstrip("\n")
