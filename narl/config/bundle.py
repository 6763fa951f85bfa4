"""What a bundle's loaders must know: `config.yaml`, what was trained; `portable.json`, what its ONNX graphs take."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from narl.config.trial import TrainConfig
from narl.core.strict import Strict

DrawsKind = Literal["none", "normal", "keyed", "member"]
_Count = Annotated[int, Field(ge=1)]


class BundleConfig(TrainConfig):
    """A trained configuration.

    Attributes:
        image_size: side of the client's square images in pixels.
        utility_classes: what the server's outputs mean; two classes share one logit, the second one's.
        utility_outputs: of the server.
    """

    image_size: int = Field(ge=1, le=16384)
    utility_classes: tuple[str, ...] = Field(min_length=2)
    utility_outputs: int = Field(ge=1, le=2**20)

    @model_validator(mode="after")
    def _facts_agree(self) -> Self:
        if self.image_size != self.pipeline.image.size:
            raise ValueError(f"image_size {self.image_size} is not the pipeline's, {self.pipeline.image.size}")
        count = len(self.utility_classes)
        if self.utility_outputs != (1 if count == 2 else count):
            raise ValueError(f"utility_outputs {self.utility_outputs} do not fit {count} utility_classes")
        if self.trial.sigma_inference == "best":
            raise ValueError("a trained client has one sigma_inference, a number, got best")
        return self

    def training_alone(self) -> TrainConfig:
        """Return what `narl train` takes."""
        return TrainConfig(**{name: getattr(self, name) for name in TrainConfig.model_fields})


class Draws(Strict):
    """What the client's graph takes besides images.

    Attributes:
        kind: `normal`: independent N(0, 1); `keyed`: the same, decided by a key and the image; `member`: a 1 among
            zeros, at a place drawn uniformly; `none`: there is no such input.
        shape: of one image's draws.
    """

    kind: DrawsKind
    shape: tuple[_Count, ...]


class PortableConfig(Strict):
    """What `narl_client.py` and `narl_server.py` must know.

    Attributes:
        image_size, utility_classes: see `BundleConfig`.
        fit: how a picture becomes a square.
        feature_shape: (C, h, w) of what is sent.
    """

    image_size: int = Field(ge=1, le=16384)
    fit: Literal["center_crop", "squash"]
    feature_shape: tuple[_Count, _Count, _Count]
    draws: Draws
    utility_classes: tuple[str, ...] = Field(min_length=2)
