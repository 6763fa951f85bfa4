"""What a bundle's loaders must know: `config.yaml`, what was trained; `portable.json`, what its ONNX graphs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from narl.config.load import build
from narl.config.pipeline import moved, place_of, with_absolute_paths
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError
from narl.core.strict import Strict

DrawsKind = Literal["none", "normal", "keyed", "member"]
_Count = Annotated[int, Field(ge=1)]


class BundleConfig(TrainConfig):
    """A trained configuration.

    Attributes:
        image_size: side of the client's square images in pixels.
        utility_classes: what the server's outputs mean; two classes share one logit, the second one's.
        utility_outputs: of the server.
        redacted: the export does not say which classes the labels gather.
    """

    image_size: int = Field(ge=1, le=16384)
    utility_classes: tuple[str, ...] = Field(min_length=2)
    utility_outputs: int = Field(ge=1, le=2**20)
    redacted: bool = False

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key not in ("audit", "redacted") or value}

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

    def with_images_at(self, place: str | None) -> Self:
        """The same configuration, whose images lie at `place`: a folder, a table's CSV file, or one of these on S3.

        Args:
            place: None: where the configuration says.

        Raises:
            ConfigError: it does not say, or its source takes no place, or its labels are redacted.
        """
        source = self.pipeline.source
        known, what = place_of(source), "the CSV file" if source.kind == "table" else "the folder"
        if self.redacted:
            raise ConfigError(
                "this export is redacted: it does not say which classes its labels gather, so nothing can be measured "
                "on its images; take the bundle that it was made from (narl verify --without-images tests the noise)"
            )
        if place is None:
            if known == "":
                raise ConfigError(f"this export does not say where its images lie: name {what} with `data`")
            return self
        if known is None:
            raise ConfigError(f"images of {source.kind} come with it: leave `data` out")
        there = build(type(source), moved(source, place).model_dump(), "data")
        pipeline = self.pipeline.model_copy(update={"source": there})
        return self.model_copy(update={"pipeline": with_absolute_paths(pipeline, Path.cwd())})

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


class ClientFacts(Strict):
    """What `narl_client.py` must know.

    Attributes:
        client: what runs on the device, as `Point.costed_client` names it.
        image_size: side of the client's square images in pixels.
        fit: how a picture becomes a square.
        feature_shape: (C, h, w) of what is sent.
    """

    client: str
    image_size: int = Field(ge=1, le=16384)
    fit: Literal["center_crop", "squash"]
    feature_shape: tuple[_Count, _Count, _Count]
    draws: Draws


class PortableConfig(ClientFacts):
    """What `narl_client.py` and `narl_server.py` must know.

    Attributes:
        utility_classes: see `BundleConfig`.
    """

    utility_classes: tuple[str, ...] = Field(min_length=2)
