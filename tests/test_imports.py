"""The method stands on torch alone: it imports, trains and saves where nothing else is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import ralkit

METHOD = sorted(path.stem for path in Path(ralkit.__file__).parent.glob("*.py") if not path.stem.startswith("__"))
COURSE = [
    "numpy", "tqdm", "PIL", "lmdb", "matplotlib", "scipy", "torchmetrics", "papermill", "pandas", "ipywidgets",
    "ralkit.course",
]  # fmt: skip

# As if nothing but torch and the method were installed.
ALONE = f"""
import sys, warnings
from importlib.machinery import PathFinder
warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch's, where there is none

class Alone(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = any(name == other or name.startswith(other + ".") for other in {COURSE!r})
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Alone
"""

ALL_OF_IT = """
import torch
from pathlib import Path
from ralkit import PixelCNN, PriorConfig, RalConfig, VQVAE, VQVAEConfig, make_prior, store
from ralkit.diagnostics import cached_logits, gradient_snr, part_gradients
from ralkit.metrics import auc, fidelity, oracle_metrics
from ralkit.ral import make_critic
from ralkit.training import critic_adam, train_mle, train_ral, train_vqvae, warm_critic

folder = Path(sys.argv[1])
images = torch.randint(256, (32, 3, 16, 16), dtype=torch.uint8)
vqvae = VQVAE(2, 8, 4, 7, 4)
train_vqvae(vqvae, images, images, VQVAEConfig(batch=8, steps=2), seed=0, points=1)
store.write_rows(folder / "codes", [vqvae.eval().encode(images.float() / 127.5 - 1).flatten(1)])
codes = store.read_rows(folder / "codes", 16).view(-1, 4, 4).long()
cfg = PriorConfig(channels=8, layers=1, k=3, output_layers=0, batch=8, steps=2)
prior = make_prior(cfg, 7)
options = {"seed": 0, "points": 1, "checkpoint": folder / "checkpoint", "save_minutes": 0}
train_mle(prior, codes, cfg, name="MLE", **options)
(folder / "checkpoint").unlink()
ral = RalConfig(rollouts=4, critic_batch=4, critic_updates=1, warmup=1, updates=2, critic_channels=4, critic_stages=2)
critic = make_critic(ral)
world = (vqvae.decode, (codes,), ral)
optimiser = critic_adam(critic, ral)
warm_critic(critic, optimiser, (prior,), *world, seed=0)
train_ral((prior,), critic, optimiser, *world, name="RAL", **options)
print(oracle_metrics(prior, prior, prior.sample(8, (4, 4)), codes))
print(cached_logits(prior, codes[:2]).shape, gradient_snr(part_gradients(prior, codes, torch.ones(len(codes), 16))))
print(auc(torch.rand(5), torch.rand(5)), fidelity(torch.rand(9, 2), torch.rand(9, 2)))
store.write(folder / "a", {"prior": prior.state_dict()})
prior.load_state_dict(store.read(folder / "a")["prior"])
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_methods_modules_are_those_of_the_package():
    expected = {"prior", "ral", "training", "store", "metrics", "sampling", "cache", "diagnostics", "distributed"}
    assert expected <= set(METHOD)


def test_every_module_imports_with_torch_alone():
    run(ALONE + "".join(f"import ralkit.{name}\n" for name in METHOD))


@pytest.mark.parametrize("name", ["numpy", "tqdm", "PIL.Image", "ralkit.course.presets"])
def test_nothing_else_is_there(name):
    with pytest.raises(AssertionError, match="ModuleNotFoundError: No module named"):
        run(ALONE + f"import {name}")


def test_the_method_works_with_torch_alone(tmp_path):
    run(ALONE + ALL_OF_IT, str(tmp_path))


def test_ralkit_loads_nothing_that_torch_has_not_loaded():
    code = f"""
import sys, torch
before = set(sys.modules)
import ralkit, {", ".join(f"ralkit.{name}" for name in METHOD)}
print(*sorted(name for name in set(sys.modules) - before
              if any(name == other or name.startswith(other + ".") for other in {COURSE!r})))
"""
    assert run(code).split() == []
