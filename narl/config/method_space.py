"""What a search varies of one method: its own settings, and what it searches in place of the top level's values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from narl.config.values import Range, Values
from narl.core.errors import unknown_name
from narl.core.method_options import METHODS, Bound, NoiseKind, check_method, check_setting
from narl.core.point import LARGEST
from narl.core.strict import Strict


class Architecture(Strict):
    """What is searched of one architecture. Nothing after its name is short for all split points.

    Attributes:
        split_points: `all`, or a list of them.
    """

    split_points: Literal["all"] | tuple[int, ...] = "all"

    @field_validator("split_points", mode="before")
    @classmethod
    def _list_or_all(cls, value: object) -> object:
        if value != "all" and not isinstance(value, (list, tuple)):
            raise ValueError("expected all, or a list of split points")
        return value

    @field_validator("split_points")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | Literal["all"]) -> tuple[int, ...] | Literal["all"]:
        if value != "all" and (not value or len(set(value)) != len(value)):
            raise ValueError("list at least one split point, each once")
        return value


def _bare_name_means_all(value: Any) -> Any:
    """`resnet18:` with nothing after it searches every split point."""
    if not isinstance(value, dict):
        return value
    return {name: {} if chosen is None else chosen for name, chosen in value.items()}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Architectures = Annotated[dict[str, Architecture], Field(min_length=1), BeforeValidator(_bare_name_means_all)]


class MethodSpace(Strict):
    """The options of one method. The names of its settings are keys beside these: `disco: {rho: 0.5}`.

    Attributes:
        architectures, sigma, lambda_: searched in place of the top level's; null means those.
        bound, noise: what M1 ends with and how its noise is drawn, see `narl.core.point.Point`; a word or several.
        clip_rms: of `l2-clip`; not searched, as features keep their direction and σ is searched.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Values]

    architectures: Architectures | None = None
    sigma: Values | None = None
    lambda_: Values | None = Field(None, alias="lambda")
    bound: Annotated[tuple[Bound, ...], BeforeValidator(_listed)] | None = Field(None, min_length=1)
    noise: Annotated[tuple[NoiseKind, ...], BeforeValidator(_listed)] | None = Field(None, min_length=1)
    clip_rms: float | None = Field(None, gt=0, le=LARGEST)

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The values of `bound` and `noise`, if they are searched."""
        return {name: words for name in ("bound", "noise") if (words := getattr(self, name))}

    @property
    def settings(self) -> dict[str, Values]:
        """The method's own settings by name."""
        return dict(self.__pydantic_extra__)

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def options_by_name(given: Any) -> dict[str, Any]:
    """Write `disco`, `[disco]` and `{disco: {}}` all as the last; options are checked by name only.

    Raises:
        ValueError: no such method, or an option that it does not have, with the nearest name.
    """
    if isinstance(given, str):
        given = [given]
    if isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given):
        if len(set(given)) != len(given):
            raise ValueError("name each method once")
        given = dict.fromkeys(given)
    if not isinstance(given, dict):
        raise ValueError("expected a method, a list of methods, or a mapping of methods to their options")
    for method, options in given.items():
        check_method(method)
        for option in options if isinstance(options, dict) else ():
            _check_option(method, option)
    return {method: {} if options is None else options for method, options in given.items()}


def _check_option(method: str, option: str) -> None:
    uses = {"sigma": METHODS[method].uses_sigma, "lambda": METHODS[method].uses_lambda}
    bounds = METHODS[method].bounds_features
    uses |= {"bound": bounds, "clip_rms": bounds, "noise": METHODS[method].noise_on_features}
    if not uses.get(option, True):
        raise ValueError(f"method {method} has no {option}: leave it out")
    legal = [*METHODS[method].settings, "architectures", *(name for name, used in uses.items() if used)]
    if option not in legal:
        raise ValueError(f"method {method}: {unknown_name('option', option, legal)}")


def check_options(method: str, chosen: MethodSpace) -> None:
    """Raise ValueError if a value is outside its setting's range, or a method without split points gets some."""
    for name, words in chosen.words.items():
        if len(set(words)) != len(words):
            raise ValueError(f"method {method}: name each {name} once")
    if chosen.clip_rms is not None and "l2-clip" not in (chosen.bound or ()):
        raise ValueError(f"method {method}: clip_rms is for bound l2-clip; leave it out")
    for name, values in chosen.settings.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values.choices:
            check_setting(method, name, value)
    if not METHODS[method].uses_split:
        for arch, architecture in (chosen.architectures or {}).items():
            if architecture.split_points != "all":
                raise ValueError(f"method {method} has no split points: leave those of {arch} out")
