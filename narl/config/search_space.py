"""What to search: methods, architectures, split points, σ, λ, objectives, budgets and the means to search with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer, field_validator, model_validator

from narl.config.load import build, read_yaml
from narl.config.measured import Measured, with_measured
from narl.config.method_space import Architectures, MethodSpace, check_options, options_by_name
from narl.config.pipeline import Pipeline, with_absolute_paths, without_place
from narl.config.trial import BEST_NEEDS_BAYES, Attack, FoundBy, TrainConfig, Training, with_pipeline
from narl.config.values import Choices, Values
from narl.core.constraints import Constraints
from narl.core.errors import ConfigError, unknown_name
from narl.core.hashing import stable_hash
from narl.core.method_options import METHODS
from narl.core.objectives import COST_NAMES, DELTAS, is_one_delta, not_costs, objective, queries_of
from narl.core.point import Point
from narl.core.strict import Strict

# What may differ between a search and its resumption: trials stay comparable.
FREE_KEYS = ("name", "trials", "time_budget_minutes", "confirm_share", "resources", "sampler", "early_stopping", "stop")

SamplerName = Literal["front", "tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid"]


# Ray counts CPUs and GPUs in ten thousandths.
RAY_UNITS = 10_000


def ray_units(amount: float) -> int:
    """An amount of CPUs or GPUs in ten thousandths; what is less is cut off, but for rounding."""
    return int(amount * RAY_UNITS + 1e-6)


class Resources(Strict):
    """What one trial occupies; how many run at once follows from what the cluster has, and changes with it.

    Attributes:
        cpus_per_trial: of all its processes together.
        gpus_per_trial: null means one per worker if the cluster has or can get any, else none. Below 1 is a share of
            one GPU and of its memory. A whole number above 1 means as many workers, each on a GPU of its own.
        workers_per_trial: processes that train a trial together, each on its share of every batch, on one node or
            several; null means one per GPU. Their numbers are those of one process, but for rounding and dropout.
        max_concurrent_trials: at most so many at once. If nodes come on demand and narl cannot know how many there may
            be (Kubernetes), so many are asked for.
    """

    cpus_per_trial: float = Field(1, ge=1 / RAY_UNITS)
    gpus_per_trial: float | None = Field(None, ge=0)
    workers_per_trial: int | None = Field(None, ge=1)
    max_concurrent_trials: int | None = Field(None, ge=1)

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_a_share(cls, value: float | None) -> float | None:
        if value is None or value == 0 or 1 / RAY_UNITS <= value <= 1 or (math.isfinite(value) and value == int(value)):
            return value
        if value < 1:
            raise ValueError(f"Ray counts GPUs in ten thousandths, got {value:g}")
        raise ValueError(f"a share of one GPU or whole GPUs: allowed are 0 to 1, 2, 3, …, got {value:g}")

    @model_validator(mode="after")
    def _one_gpu_and_some_cpu_a_worker(self) -> Self:
        gpus, workers = self.gpus_per_trial, self.workers_per_trial
        if gpus and workers and max(1, gpus) != workers:
            raise ValueError(
                f"each worker trains on one GPU: workers_per_trial {workers} goes with gpus_per_trial {workers}, 0 or "
                f"null, got {gpus:g}"
            )
        if not ray_units(self.cpus_per_trial / self.num_workers):
            raise ValueError(
                f"Ray counts CPUs in ten thousandths: {self.num_workers} workers need cpus_per_trial "
                f"{self.num_workers / RAY_UNITS:g} or more, got {self.cpus_per_trial:g}"
            )
        return self

    @property
    def num_workers(self) -> int:
        return self.workers_per_trial or max(1, int(self.gpus_per_trial or 1))


class SearchSpace(Strict):
    """One search.

    Attributes:
        name: of the search; its folder's.
        pipeline: the images, or the name of a pipeline file, relative to this one.
        method: a name, a list of names, or names with options.
        architectures, sigma, lambda_: for every method without values of its own.
        sigma_inference: which noise a trained client adds where it is attacked and used: that of training (`trained`),
            or of the σ whose Δ in closed form is `best` on validation images, for methods with Gaussian noise on
            features. Left out, it is `best` where it can be chosen and Δ of one answer is all that is searched beside
            costs.
        objectives: what the front is about: costs, and what is measured.
        budgets: largest costs. They are known before training: what exceeds one is never trained.
        constraints: bounds on what is measured: what misses one is on no front, and σ at inference is chosen so that
            they are met.
        measured: what clients took on a device, or the name of a file that `narl profile --measure --format json` wrote,
            relative to this one: client_latency_ms is then a cost like the others.
        uplink_dtype: what a value of z is counted as when sent; accuracies are measured on unrounded features.
        sampler: what proposes trials.
        early_stopping: end trials that can no longer reach the front, as Δ is read after each epoch.
        stop: `converged` ends the search when sampler `front` expects no more of another trial than luck would seem to
            give; null: it has all its trials.
        trials: so many in all.
        time_budget_minutes: no trial starts after so long; null: no such bound.
        confirm_share: of the time, kept for training what may be on the front with fresh seeds and reading it on test
            images, as `narl confirm` does, when the search has ended; 0: none.
        seed: of the sampler and of every trial.
        training: how clients are trained.
        attack: how they are attacked.
        resources: what a trial occupies.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    pipeline: Pipeline
    method: dict[str, MethodSpace] = Field({"narl": MethodSpace()}, min_length=1)
    architectures: Architectures | None = None
    sigma: Values | None = None
    lambda_: Values | None = Field(None, alias="lambda")
    sigma_inference: Literal["trained", "best"] = "trained"
    objectives: tuple[str, ...] = ("delta", "client_gflops", "client_memory_mib")
    budgets: dict[str, float] = {}
    constraints: Constraints = Constraints()
    measured: Measured | None = None
    uplink_dtype: Literal["float32", "float16", "int8"] = "float32"
    sampler: SamplerName = "tpe"
    early_stopping: bool = False
    stop: Literal["converged"] | None = None
    trials: int = Field(24, ge=1, le=10_000_000)
    time_budget_minutes: float | None = Field(None, gt=0)
    confirm_share: float = Field(0, ge=0, le=0.9)
    seed: int = Field(0, ge=0, lt=2**63)
    training: Training = Training()
    attack: Attack = Attack()
    resources: Resources = Resources()

    @field_validator("method", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> dict[str, Any]:
        return options_by_name(value)

    @field_validator("method")
    @classmethod
    def _legal_options(cls, value: dict[str, MethodSpace]) -> dict[str, MethodSpace]:
        for method, chosen in value.items():
            check_options(method, chosen)
        return value

    @model_validator(mode="after")
    def _given_where_used(self) -> Self:
        """What is given at the top level must be searched by some method, and what a method searches must be given."""
        uses_by_key = {
            "architectures": set(self.method),
            "sigma": {method for method in self.method if METHODS[method].uses_sigma},
            "lambda": {method for method in self.method if METHODS[method].uses_lambda},
        }
        for key, users in uses_by_key.items():
            field = key.replace("lambda", "lambda_")
            without = [method for method in self.method if method in users and not getattr(self.method[method], field)]
            if without and getattr(self, field) is None:
                raise ValueError(f"missing key {key!r}, which method {without[0]} searches")
            if not without and getattr(self, field) is not None:
                reason = "each has its own" if users else f"{', '.join(self.method)} has none"
                raise ValueError(f"{key}: no method would search it ({reason}); leave it out")
        return self

    @model_validator(mode="after")
    def _latency_is_measured(self) -> Self:
        if self.measured is None and "client_latency_ms" in (*self.objectives, *self.budgets):
            raise ValueError(
                "client_latency_ms needs the key 'measured': a file that narl profile --measure --format json writes"
            )
        return self

    @model_validator(mode="after")
    def _sigma_that_can_be_chosen(self) -> Self:
        scaled = any(METHODS[method].noise_on_features for method in self.method)
        if "sigma_inference" not in self.model_fields_set:
            only_delta = not_costs(self.objectives) == ("delta",)
            best = scaled and self.attack.is_exact and only_delta
            object.__setattr__(self, "sigma_inference", "best" if best else "trained")
        elif self.sigma_inference == "best" and not self.attack.is_exact:
            raise ValueError(BEST_NEEDS_BAYES)
        elif self.sigma_inference == "best" and not scaled:
            raise ValueError(
                f"sigma_inference: {', '.join(self.method)} adds no Gaussian noise to features; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_objective_to_model(self) -> Self:
        found = not_costs(self.objectives)
        if self.sampler == "front" and len(found) != 1:
            raise ValueError(
                f"sampler front models one objective that is not a cost, and here are {', '.join(found) or 'none'}: "
                "use another sampler, tpe for example"
            )
        return self

    @model_validator(mode="after")
    def _convergence_needs_a_model(self) -> Self:
        if self.stop is not None and self.sampler != "front":
            raise ValueError(f"stop: converged needs sampler front, which knows what to expect; got {self.sampler}")
        return self

    @model_validator(mode="after")
    def _one_delta_to_follow(self) -> Self:
        for key in ("early_stopping", "confirm_share"):
            if getattr(self, key) and not is_one_delta(self.objectives):
                found = ", ".join(not_costs(self.objectives)) or "none"
                raise ValueError(f"{key} is for {' or '.join(DELTAS)} beside costs, and here are {found}: leave it out")
        if self.early_stopping and not self.attack.is_exact:
            raise ValueError("early_stopping reads in closed form: attack.adversaries must list bayes")
        return self

    @model_validator(mode="after")
    def _identification_is_measured(self) -> Self:
        if self.constraints.max_identification is not None and not self.attack.is_exact:
            raise ValueError(
                "constraints: max_identification is measured in closed form: attack.adversaries must list bayes"
            )
        return self

    @field_serializer("method", mode="wrap")
    def _one_method_by_its_name(
        self, value: dict[str, MethodSpace], handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any] | str:
        content: dict[str, Any] = handler(value)
        (first, options), *others = content.items()
        return content if options or others else first

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                objective(name)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        if len(set(value)) != len(value) or not value:
            raise ValueError("name at least one objective, each once")
        return value

    @field_validator("budgets")
    @classmethod
    def _known_costs(cls, value: dict[str, float]) -> dict[str, float]:
        for name, bound in value.items():
            if name not in COST_NAMES:
                raise ValueError(unknown_name("budget", name, COST_NAMES))
            if bound <= 0:
                raise ValueError(f"budget {name} must be above 0, got {bound:g}")
        return value

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Load the search space in a YAML file; `pipeline` and `measured` may be inline or files, relative to this one.

        Raises:
            ConfigError: unreadable file or illegal content.
        """
        path = Path(path)
        content = with_measured(with_pipeline(read_yaml(path), path.parent), path.parent)
        space = build(cls, content, str(path))
        return space.model_copy(update={"pipeline": with_absolute_paths(space.pipeline, path.parent)})

    def changed(self, **changes: Any) -> Self:
        """Replace the values of some keys, those that are not None.

        Raises:
            ConfigError: they are not legal.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        return build(type(self), self.model_dump(by_alias=True) | given, f"search {self.name!r}")

    def of_method(self, name: str) -> MethodSpace:
        """Return what one method searches: settings not given have their default, what it does not use is 0."""
        options, chosen = METHODS[name], self.method[name]
        nothing = Choices(choices=(0,))
        defaults = {key: Choices(choices=(setting.default,)) for key, setting in options.settings.items()}
        return MethodSpace(
            architectures=chosen.architectures or self.architectures,
            sigma=(chosen.sigma or self.sigma) if options.uses_sigma else nothing,
            lambda_=(chosen.lambda_ or self.lambda_) if options.uses_lambda else nothing,
            bound=chosen.bound,
            noise=chosen.noise,
            clip_rms=chosen.clip_rms,
            **{**defaults, **chosen.settings},
        )

    @property
    def minutes_for_trials(self) -> float | None:
        """The time budget less what confirming takes; None: no bound."""
        return None if self.time_budget_minutes is None else self.time_budget_minutes * (1 - self.confirm_share)

    @property
    def trial_attack(self) -> Attack:
        """How each trial is attacked: `attack`, with the averaging that the objectives speak of."""
        queries = tuple(sorted({*self.attack.queries, *queries_of(self.objectives)}))
        return self.attack.model_copy(update={"queries": queries})

    def train_config(self, point: Point, *, found_by: FoundBy | None = None) -> TrainConfig:
        """Return how this search trains and attacks `point`, wherever it is trained."""
        return TrainConfig(
            pipeline=self.pipeline,
            trial=point,
            training=self.training,
            attack=self.trial_attack,
            uplink_dtype=self.uplink_dtype,
            found_by=found_by,
        )

    @property
    def content_hash(self) -> str:
        """Changes with anything that would make trials incomparable; not with how many run, how long or where.

        Images may lie elsewhere; whether they are the same is for `narl.search.same_images` to say.
        """
        content = self.model_dump(exclude=set(FREE_KEYS), by_alias=True)
        content["pipeline"]["source"] = without_place(self.pipeline.source).model_dump()
        content["pipeline"]["loader"] = None
        content["pipeline"]["source"].pop("download", None)
        content["pipeline"]["beton"].pop("store", None)
        if content["pipeline"]["augment"]["color_jitter"] == 0:  # searches from before there was one can be resumed
            del content["pipeline"]["augment"]["color_jitter"]
        if content["sigma_inference"] == "trained":
            del content["sigma_inference"]
        if self.measured is None:
            del content["measured"]
        if not self.constraints:
            del content["constraints"]
        return stable_hash(content)
