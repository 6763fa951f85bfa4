"""One point of the design space: the same type for what a search proposes and for what files name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from narl.core.hashing import stable_hash
from narl.core.method_options import METHODS, Bound, NoiseKind, check_method, complete_settings
from narl.core.strict import Strict

# Of σ, λ and what bounds features: float32 holds no more.
LARGEST = 3.4e38


class Point(Strict):
    """One point of the design space: what its method does not use is left out (or 0), what it uses is given.

    Attributes:
        arch: a network of the zoo (narl/models/zoo.py).
        split: the client runs the first `split` stages; 0: none of them.
        sigma: standard deviation of the noise added to M1's output, >= 0, in units of z.
        lambda_: weight of the leakage loss in M1's objective, >= 0 (key: `lambda`).
        seed: of everything random in the trial.
        method: name of the training method.
        settings: the method's own numbers, all of them, sorted by name; names, ranges and defaults:
            narl/core/method_options.py.
        bound: what M1 ends with; see narl/models/bounds.py.
        clip_rms: of `l2-clip`, the largest root mean square of one image's features, in units of z; null means 1.
        noise: whether a repeated image gets `fresh` noise or always its own; see narl/models/noise/keyed.py.
        sigma_inference: of the noise that the trained client adds, where it is attacked, measured and used, >= 0, in
            units of z; null: `sigma`, as in training; `best`: what narl/attacks/sigma_profile.py chooses on validation
            images.
    """

    arch: str
    split: int = Field(0, ge=0)
    sigma: float = Field(0.0, ge=0, le=LARGEST)
    lambda_: float = Field(0.0, ge=0, le=LARGEST, alias="lambda")
    seed: int = Field(0, ge=0, lt=2**63)
    method: str = "narl"
    settings: dict[str, float] = {}
    bound: Bound = "none"
    clip_rms: float | None = Field(None, gt=0, le=LARGEST)
    noise: NoiseKind = "fresh"
    sigma_inference: Annotated[float, Field(ge=0, le=LARGEST)] | Literal["best"] | None = None

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        return check_method(value)

    @model_validator(mode="after")
    def _as_the_method_wants(self) -> Self:
        options = METHODS[self.method]
        given = {"split": self.split, "sigma": self.sigma, "lambda": self.lambda_}
        keys = {"split": "split", "sigma": "sigma", "lambda": "lambda_"}
        for name, value in given.items():
            if not getattr(options, f"uses_{name}"):
                if value != 0:
                    raise ValueError(f"method {self.method} has no {name}: leave it out")
            elif keys[name] not in self.model_fields_set:
                raise ValueError(f"method {self.method} needs {name}")
        if options.uses_split and self.split < 1:
            raise ValueError(f"method {self.method} needs a split point of at least 1, got {self.split}")
        if self.bound != "none" and not options.bounds_features:
            raise ValueError(f"method {self.method} has no bound: leave it out")
        if self.clip_rms is not None and self.bound != "l2-clip":
            raise ValueError(f"clip_rms is for bound l2-clip, got bound {self.bound}: leave it out")
        if self.noise != "fresh" and not options.noise_on_features:
            raise ValueError(f"method {self.method} adds no Gaussian noise to features: leave noise out")
        if self.sigma_inference is not None and not options.noise_on_features:
            raise ValueError(f"method {self.method} adds no Gaussian noise to features: leave sigma_inference out")
        # One point has one form, and one hash, however much of it was left out.
        object.__setattr__(self, "settings", complete_settings(self.method, self.settings))
        if self.bound == "l2-clip" and self.clip_rms is None:
            object.__setattr__(self, "clip_rms", 1.0)
        if self.sigma_inference == self.sigma:
            object.__setattr__(self, "sigma_inference", None)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row = handler(self)
        absent: dict[str, Any] = {"settings": {}, "bound": "none", "clip_rms": None, "noise": "fresh"}
        absent["sigma_inference"] = None
        return {key: value for key, value in row.items() if key not in absent or value != absent[key]}

    def __hash__(self) -> int:
        return hash((*(v for k, v in self if k != "settings"), *self.settings.items()))

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Point:
        """Read a point; raises pydantic's ValidationError, a ValueError."""
        return cls.model_validate(row)

    def at_inference(self, sigma: float | None) -> Point:
        """Return the same point with `sigma` as its `sigma_inference`."""
        return Point.from_json({**self.to_json(), "sigma_inference": sigma})

    @property
    def client(self) -> str:
        """What the client runs, in short: `resnet18/3`; with its method unless that is narl, `disco:resnet18/3`;
        with what its features and noise have of their own, `resnet18/3+l2-clip+keyed`."""
        client = f"{self.arch}/{self.split}" if self.split else self.arch
        client = "+".join([client, *(word for word in (self.bound, self.noise) if word not in ("none", "fresh"))])
        return client if self.method == "narl" else f"{self.method}:{client}"

    @property
    def costed_client(self) -> str:
        """`client` with all else that costs, the sizes among its method's settings: `maxent:resnet18/3 dimension 64`."""
        known = METHODS[self.method].settings
        sizes = [f"{name} {value:g}" for name, value in self.settings.items() if known[name].whole]
        return " ".join([self.client, *sizes])

    @property
    def numbers(self) -> str:
        """What is searched besides the client, in short: `σ 3 λ 0.01`, and the method's settings."""
        named = {"σ": self.sigma, "λ": self.lambda_, **self.settings}
        if isinstance(self.sigma_inference, float):
            named["σ at inference"] = self.sigma_inference
        if self.clip_rms:
            named["clip_rms"] = self.clip_rms
        return " ".join(f"{name} {value:.3g}" for name, value in named.items())

    @property
    def content_hash(self) -> str:
        """Twelve hex digits that depend on the content alone: equal configurations, equal hashes."""
        return stable_hash(self.to_json())
