"""What theory lets one expect of each method of the test bed, written down before the runs, and left as it was.

The words are those of `bench.verdict`: a method beside MLE over temperatures. "They differ" stands for any of its
counts, such as "1 of 4 better, 1 worse". Of "small network" RAL single and intermediate, the anchored one, the true
reward and rejection had been seen before. On seed 0, which is not reported, DDO in "small network" and a part of RAL
intermediate in "little data" had been seen too. All else was predicted. The reweighted MLE and the true reward for
longer came later, when the rows that are committed with them were known; the literal setting with as many roll-outs
after these, when 100 of its updates had been seen to change nearly nothing; RAL anchored for longer last of all.
"""

from dataclasses import dataclass

BETTER, WORSE, OPEN, DIFFER = "better", "worse", "not decided", "they differ"


@dataclass(frozen=True)
class Prediction:
    """A word for each world ("small network", "little data", "little training"), and why."""

    words: tuple[str, str, str]
    why: str


_REJECTION = Prediction(
    (BETTER, BETTER, BETTER),
    "the critic estimates log p / G, so what it accepts is nearer to p wherever it knows something that G does not",
)
_RAL = Prediction(
    (DIFFER, DIFFER, DIFFER),
    "without a scale the reward cannot say when to stop: samples get likelier and narrower, as a colder MLE's do",
)
PREDICTED: dict[str, Prediction] = {
    "MLE for longer": Prediction(
        (OPEN, WORSE, BETTER), "the small network is at its end, few data are learnt by heart, the third has only begun"
    ),
    **{f"MLE, a critic keeps 1 of {price}": _REJECTION for price in (2, 4, 8, 16)},
    "MLE reweighted by e^D": Prediction(
        (BETTER, BETTER, BETTER), "it is G e^D / Z, the truth itself as far as the critic is right: rejection's limit"
    ),
    "RAL single": _RAL,
    "RAL intermediate": _RAL,
    "RAL, KL 0.1": _RAL,
    "RAL, KL 0.3": _RAL,
    "RAL, KL 1": Prediction(
        (BETTER, DIFFER, BETTER),
        "KL at weight 1 is the scale that theory sets, but the critic moves, so its score is no longer log p / G_MLE",
    ),
    "RAL, KL 3": Prediction((OPEN, OPEN, OPEN), "three nats for each nat of KL leave G where MLE had brought it"),
    "RAL anchored": Prediction(
        (BETTER, BETTER, BETTER), "the reward estimates log p / G, whose policy gradient descends KL(G||p)"
    ),
    "RAL, true reward": Prediction(
        (DIFFER, DIFFER, DIFFER), "it descends KL(G||oracle) with nothing that asks for diversity"
    ),
    "RAL, true reward for longer": Prediction(
        (DIFFER, DIFFER, DIFFER), "more of the same: still nearer to the truth in KL(G||oracle), and still narrower"
    ),
    "RAL literal, as many roll-outs": Prediction(
        (OPEN, OPEN, OPEN),
        "a 48th of the roll-outs in an update, 48 times as many updates, at an 80th of the learning rate: too short a "
        "way to be seen, much of it noise",
    ),
    "MLE, top-k": Prediction(
        (DIFFER, DIFFER, DIFFER), "a cut takes the errors of the tail away, which a temperature only makes rarer"
    ),
    "MLE, nucleus": Prediction((DIFFER, DIFFER, DIFFER), "as top-k, with a cut that follows the entropy of each code"),
    "rejection distilled": Prediction(
        (BETTER, BETTER, BETTER), "G learns what rejection accepts by maximum likelihood, and loses a part on the way"
    ),
    "weighted MLE": Prediction(
        (OPEN, OPEN, BETTER),
        "with a perfect critic its maximum is that of MLE on real maps, and MLE has reached its own where it was "
        "trained to its end",
    ),
    "DDO": Prediction(
        (OPEN, WORSE, BETTER),
        "its optimum is the truth, like that of MLE: it helps where more MLE helps, and learns few data by heart",
    ),
    "GRPO": Prediction(
        (DIFFER, DIFFER, DIFFER), "the reward is RAL's but for its scale, which the division by the spread removes too"
    ),
    "RAL, shuffled rewards": Prediction(
        (WORSE, WORSE, WORSE), "the expected gradient is 0, so G walks at random, away from a maximum of its likelihood"
    ),
    "reward log G": Prediction(
        (OPEN, OPEN, OPEN), "it lowers the entropy and knows nothing of the truth: a temperature that is learnt"
    ),
    "RAL anchored, again": Prediction(
        (BETTER, BETTER, BETTER), "a second critic sees what the first round left, so it goes further the same way"
    ),
    "RAL anchored for longer": Prediction(
        (BETTER, BETTER, BETTER),
        "its aim lies at 50 nats of KL(G||oracle), and 100 updates come to 62: four times as many should come to about "
        "57, and the rest is the network's room",
    ),
}


# On photographs (`photographs.py`), written before any of them had been trained on; those on faces were known.
ON_PHOTOGRAPHS: dict[str, str] = {
    "RAL single": (
        "below MLE and MLE continued, as on faces; not decided beside MLE at its best temperature; above rejection"
    ),
    "RAL intermediate": "as RAL single: scores that see nearly the whole image say little of where a fault is",
    "RAL patches single": (
        "below MLE, by less than RAL single: a patch of 18 pixels shows texture, which the decoder makes, and not "
        "whether the parts of a face fit together"
    ),
    "RAL patches intermediate": (
        "below RAL patches single: if a local score helps anywhere, it is where it is given to the codes of its patch"
    ),
    "RAL anchored": "below RAL single, and above the rejection that its own critic is used for",
}

# Of two maps of codes on faces, whose bottom prior was made anew with features of its own for each child of a top code;
# written down while it trained, when nothing of it was there but the curve of its NLL_test. The numbers in brackets are
# those of the prior before it, whose children shared one copy of the features, and of one run.
ON_TWO_MAPS: dict[str, str] = {
    "MLE": "clearly better than before: FD-faces to real of about 12 (17.6) and recall of about .45 (.30)",
    "MLE continued": "as MLE (as MLE)",
    "RAL single": (
        "below MLE continued, by about 10 % in FD-faces to real (22 %), because a part of what RAL gained was what the "
        "bottom prior could not tell"
    ),
    "RAL intermediate": "below MLE continued, by about 15 % (32 %), and below MLE at its best temperature",
    "distance to a face": "larger after RAL than after MLE, as before: RAL draws sharper parts, not better faces",
}
