"""The `config.yaml` of a bundle: what was trained, and what a loader must know of the networks."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from narl.config.trial import TrainConfig


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
