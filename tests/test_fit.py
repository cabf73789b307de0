"""The training loop: what ends it with a sentence, when it saves, and whom it tells of its progress."""

from types import SimpleNamespace

import pytest
import torch
from test_training import run_mle, run_ral
from torch import nn

from ralkit import store, training
from ralkit.errors import RalkitError
from ralkit.training import fit, seeded

NAN = float("nan")


def walk(checkpoint=None, broken_at=-1, broken="weight", steps=8, **options):
    """A model that a step changes; at the step `broken_at`, so that it is no more finite."""
    with seeded(0):
        model = nn.Linear(2, 1)

    def step(t):
        with torch.no_grad():
            model.weight += torch.randn(1, 2)
            if t == broken_at and broken == "weight":
                model.weight[0, 1] = NAN
        return {"loss": torch.tensor(NAN if t == broken_at and broken == "loss" else 1.0)}

    fit("walk", {"model": model}, step, steps, seed=0, checkpoint=checkpoint, **{"points": 2} | options)
    return model


# ---- Numbers that are not finite ----


@pytest.mark.parametrize(("at", "point"), [(3, 4), (7, 8)])
@pytest.mark.parametrize(("broken", "quantity"), [("loss", "loss"), ("weight", "model.weight")])
def test_a_number_that_is_not_finite_ends_the_run(broken, quantity, at, point):
    with pytest.raises(RalkitError, match=rf"^walk: {quantity} is not finite at step {point} of 8; lower the learning"):
        walk(broken_at=at, broken=broken)


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_an_evaluated_number_that_is_not_finite_ends_the_run(bad, capsys):
    values, told = iter([1.0, bad]), []
    with pytest.raises(RalkitError, match=r"^walk: NLL is not finite at step 4 of 8"):
        walk(evaluate=lambda: {"NLL": next(values)}, on_point=lambda *a: told.append(a[2]["NLL"][-1]))
    assert told == [1.0]


def test_weights_are_looked_at_before_they_are_evaluated():
    seen = []
    with pytest.raises(RalkitError, match="weight is not finite at step 4"):
        walk(broken_at=3, evaluate=lambda: seen.append(0) or {})
    assert seen == [0]  # of step 0


@pytest.mark.parametrize("broken", ["loss", "weight"])
def test_the_last_good_checkpoint_stays(broken, tmp_path, always_saving):
    with pytest.raises(RalkitError, match="is not finite at step 6 of 8"):
        walk(tmp_path / "c", broken_at=5, broken=broken, save_minutes=0)
    saved = store.read(tmp_path / "c")
    assert saved["step"] == 5 and saved["parts"]["model"]["weight"].isfinite().all()
    assert walk(tmp_path / "c").weight.equal(walk().weight)


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [({"lr_prior": 1e38}, "prior"), ({"lr_critic": 1e38, "critic_updates": 1}, "reward|prior_loss|critic")],
)
def test_ral_that_leaves_the_finite_numbers_ends(changes, quantity):
    with pytest.raises(RalkitError, match=rf"^r: ({quantity}).* is not finite at step \d+ of 12"):
        run_ral(None, changes)


# ---- Checkpoints ----


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds to it."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(training, "time", clock)
    return clock


@pytest.mark.parametrize(("took", "saved"), [(0.1, [6, 12, 18, 24]), (0.5, [6, 16, 26]), (2.0, [6])])
def test_saving_takes_a_twentieth_of_the_time_at_most(took, saved, clock, tmp_path, monkeypatch):
    """Steps of a second, a checkpoint every six where it is fast; one that takes `took` waits for 20 times that."""
    writes = []

    def write(path, content):
        clock.now += took
        writes.append(content["step"])

    def step(t):
        clock.now += 1.0
        return {}

    monkeypatch.setattr(store, "write", write)
    model = {"model": nn.Linear(1, 1)}
    history = fit("x", model, step, 30, seed=0, checkpoint=tmp_path / "c", points=1, save_minutes=0.1)
    assert writes == saved
    assert history["seconds"] == [0.0, pytest.approx(30 + took * len(saved))]


def test_a_corrupt_checkpoint_is_named(tmp_path):
    (tmp_path / "c").write_bytes(b"not a checkpoint, but long enough to have a digest at its end")
    with pytest.raises(RalkitError, match="c is damaged"):
        run_mle(tmp_path / "c")


@pytest.mark.parametrize("wrong", ["another file", "another model", "too many steps", "no random numbers"])
def test_a_checkpoint_of_another_run_is_named(wrong, tmp_path, always_saving):
    path = tmp_path / "c"
    with pytest.raises(RalkitError):
        walk(path, broken_at=5, save_minutes=0)
    content = store.read(path)
    if wrong == "another model":
        content["parts"]["model"]["weight"] = torch.zeros(3, 3)
    changed = {
        "another file": {"x": 1},
        "too many steps": content | {"step": 9},
        "no random numbers": content | {"random": [0]},
    }
    store.write(path, changed.get(wrong, content))
    with pytest.raises(RalkitError, match=r"c is not a checkpoint of this run; move it away"):
        walk(path)


def test_a_folder_in_the_place_of_a_checkpoint_is_named(tmp_path):
    with pytest.raises(RalkitError, match="a folder lies in its place"):
        walk(tmp_path)


# ---- Progress ----


def test_a_point_is_printed_or_told(capsys):
    told = []
    walk(evaluate=lambda: {"NLL": 2.5})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["walk", "0/8", "0.0", "s", "NLL", "2.5"],
        ["walk", "4/8", "0.0", "s", "NLL", "2.5", "loss", "1"],
        ["walk", "8/8", "0.0", "s", "NLL", "2.5", "loss", "1"],
    ]
    walk(on_point=lambda name, steps, history: told.append((name, steps, list(history["step"]))))
    assert told == [("walk", 8, [0]), ("walk", 8, [0, 4]), ("walk", 8, [0, 4, 8])]
    assert capsys.readouterr().out == ""


def test_every_step_is_told():
    told = []
    walk(on_step=lambda *a: told.append(a))
    assert told == [("walk", t, 8) for t in range(9)]


# ---- Precision and memory ----


def test_bfloat16_is_for_steps_only():
    seen, model = {}, nn.Linear(4, 4)
    x = torch.randn(2, 4)
    fit(
        "x", {"model": model}, lambda t: seen.update(step=model(x).dtype) or {}, 1, seed=0, points=1, bf16=True,
        evaluate=lambda: seen.update(evaluation=model(x).dtype) or {},
    )  # fmt: skip
    assert seen == {"step": torch.bfloat16, "evaluation": torch.float32}


def test_a_full_memory_is_said_and_loses_nothing(tmp_path, always_saving):
    """A real allocation that fails; then there is room, and the run ends as one that was never stopped."""

    def run(checkpoint, full_at=-1):
        torch.manual_seed(0)
        model = nn.Linear(2, 1)

        def step(t):
            if t == full_at:
                torch.empty(2**55)
            with torch.no_grad():
                model.weight += torch.randn(1, 2)
            return {}

        fit("walk", {"model": model}, step, 6, seed=0, checkpoint=checkpoint, points=1, save_minutes=0)
        return model.weight

    with pytest.raises(RalkitError, match=r"^walk: step 4 does not fit the memory of a CPU, .* goes on from it$"):
        run(tmp_path / "c", full_at=4)
    assert store.read(tmp_path / "c")["step"] == 4
    assert torch.equal(run(tmp_path / "c"), run(None))


def test_other_errors_of_a_step_are_not_taken_for_a_full_memory():
    def step(t):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        fit("x", {"model": nn.Linear(1, 1)}, step, 1, seed=0, points=1)
