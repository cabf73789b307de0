"""What a stranger installs: the method needs torch alone, the extras are environment.yml's list, public names exist."""

import tomllib
from pathlib import Path

import yaml

import ralkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name(requirement: str) -> str:
    return requirement.split(">")[0].split("=")[0]


def test_the_extras_are_the_environment_s_list():
    (pip,) = (
        d["pip"] for d in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if isinstance(d, dict)
    )
    extras = PROJECT["optional-dependencies"]
    assert [name(r) for r in PROJECT["dependencies"]] == ["torch"]
    assert [r for r in pip if r != "-e ." and name(r) != "torch"] == extras["course"] + extras["dev"]


def test_public_names_exist_and_the_package_is_typed():
    assert all(hasattr(ralkit, public) for public in ralkit.__all__)
    assert (Path(ralkit.__file__).parent / "py.typed").exists()
    assert ralkit.__version__ == PROJECT["version"]


def test_the_citation_is_of_this_version_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert "Reinforced Adversarial Learning" in citation["references"][0]["title"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
