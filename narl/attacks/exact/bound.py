"""The Bayes bound: what no attacker can exceed on the images that are reported, whatever it was trained on.

Let one of N images be drawn at random and z be an answer about it. Whoever sees z alone guesses the label best by
max_y p(y | z), and with the noise known Bayes' rule gives p(y | z) over these N images. So

    E_z max_y p(y | z),    p(y | z) = Σ_{i: y_i = y} p(z | f_i) / Σ_i p(z | f_i)

is the highest accuracy any function of z can have on them: the Bayes vulnerability of the label (Smith, "On the
Foundations of Quantitative Information Flow", FoSSaCS 2009; estimated from samples by Cherubin, Chatzikokolakis and
Palamidessi, "F-BLEAU", IEEE S&P 2019; here p is known and nothing is estimated but the outer mean, by Monte Carlo).
max_y p is averaged rather than hits, which vary more. The same posterior bounds identification (max_i p(i | z) in a
gallery that the attacker has), and its mean, Σ p(i | z) x_i, is the picture that no decoder can beat.

Letters: N images, M = N gallery, B answers of a block, K classes, S side of an image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Mapping, Sequence

from torch import Generator, Tensor

from narl.attacks.exact.evidence import Evidence
from narl.attacks.exact.levels import ExactStep, distinct
from narl.attacks.exact.questions import Identification, LabelReading, Pictures, Question, Tally, posterior_of_equals
from narl.attacks.exact.results import BayesBounds, Bound, LeastError
from narl.core.errors import ConfigError
from narl.core.seeds import derive_seed
from narl.models.noise.base import Noise

# A mean is taken over at least so many answers in all: its standard error is then half a point at most.
ANSWERS = 10_000


def bayes_bounds(
    features: Tensor,
    noises: Mapping[float, Noise],
    labels: Mapping[str, Tensor],
    *,
    seed: int,
    galleries: Sequence[int] = (),
    images: Tensor | None = None,
    answers: int = ANSWERS,
) -> Steps[ExactStep, None, BayesBounds]:
    """Bound what answers about these images tell, yielding after each block.

    Where noise does not hide, distinct features are told apart with certainty: 100 %, unless images with equal features
    differ in their label. For noise whose likelihood has no closed form, the bound is that of noise which hides less
    (`Noise.dominating`).

    Args:
        features: clean, [N, C, h, w], of the images that are reported.
        noises: by level, see `narl.attacks.exact.levels`.
        labels: by name, int64 [N] >= 0: private, useful (utility that no server exceeds) and any other.
        galleries: sizes >= 1 for identification; N is all of them.
        images: [N, 3, S, S] in [0, 1], if the least error of a rebuilt picture is wanted.
        answers: how many are drawn in all, at least.

    Raises:
        ConfigError: labels that do not fit, no image, a gallery size below 1, or a noise that is not a `Noise`.
        DivergedTraining: features that are not finite.
    """
    count = len(features)
    if count == 0 or any(size < 1 for size in galleries):
        raise ConfigError("bounds need at least one image, and galleries of at least one")
    sizes = [size for size in sorted(set(galleries)) if size <= count]
    found, position = distinct(noises)
    found = [noise.dominating() for noise in found]
    hiding = [place for place, noise in enumerate(found) if noise.hides]
    draws = math.ceil(answers / count)
    generator = Generator(features.device).manual_seed(derive_seed(seed, "bayes bound"))
    questions: list[Question] = [LabelReading(labels, count, features.device)]
    questions += [Identification(size, generator) for size in sizes]
    questions += [Pictures(images, features.device)] if images is not None else []
    tallies = [Tally(questions, count) for _ in found]
    for place in set(range(len(found))) - set(hiding):
        for rows, weights in posterior_of_equals(features):
            tallies[place].add(rows, weights)
    if hiding:
        evidence = Evidence([found[place] for place in hiding], features, features)
        total = evidence.num_blocks(draws)
        for done, block in enumerate(evidence.blocks(draws, generator), start=1):
            weights = block.scores.float().softmax(1)
            tallies[hiding[block.level]].add(block.rows, weights)
            yield ExactStep("bayes bound", done, total)

    results = [tally.results(draws if noise.hides else 0) for noise, tally in zip(found, tallies, strict=True)]
    bounds = [{name: each for name, each in one.items() if isinstance(each, Bound)} for one in results]
    errors = [{name: each for name, each in one.items() if isinstance(each, LeastError)} for one in results]
    at = {level: position[level] for level in noises}
    return BayesBounds(
        labels={name: {level: bounds[place]["label", name] for level, place in at.items()} for name in labels},
        identification={
            level: {size: bounds[place]["gallery", size] for size in sizes} for level, place in at.items() if sizes
        },
        reconstruction={level: errors[place]["picture",] for level, place in at.items() if images is not None},
    )
