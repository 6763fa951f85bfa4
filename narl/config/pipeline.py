"""How images flow: source, labels, splits, size, augmentation and how they are stored for FFCV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from narl.config.load import build, read_yaml
from narl.config.names import Name
from narl.core.errors import ConfigError
from narl.core.hashing import stable_hash
from narl.core.paths import resolved, user_path
from narl.core.strict import Strict
from narl.storage.s3 import S3Address, is_url, parse_s3

# A value of a label's map whose classes a person has yet to give to other values.
TO_SORT = "TO SORT"

Loader = Literal["auto", "ffcv", "tensor"]
Duplicates = Literal["refuse", "warn", "group"]


def _path_or_s3(place: str) -> str:
    if is_url(place):
        try:
            parse_s3(place, otherwise="a path")
        except ConfigError as error:
            raise ValueError(str(error)) from error
    return place


# A path on this node or one that nodes share, or `s3://bucket/prefix`.
Place = Annotated[str, AfterValidator(_path_or_s3)]


class DigitsSource(Strict):
    """scikit-learn's 1,797 handwritten digits; classes "0" to "9". Ships with scikit-learn."""

    kind: Literal["digits"]


class Cifar10Source(Strict):
    """torchvision's CIFAR10.

    Attributes:
        root: its folder, as torchvision lays it out.
        download: whether to fetch it into `root`, if it is not there.
    """

    kind: Literal["cifar10"]
    root: Place = "~/.cache/narl/cifar10"
    download: bool = False

    @model_validator(mode="after")
    def _download_to_a_folder(self) -> Self:
        if self.download and is_url(self.root):
            raise ValueError("download is for a folder: leave it out where root is s3://…")
        return self


class ImageFolderSource(Strict):
    """`root/<class>/*.jpg`, or `root/<train>/<class>/…` and `root/<test>/<class>/…` if both folders are named.

    Attributes:
        root: the folder; its one column is `class`.
        train, test: folders below `root`, both or neither, that have the classes' folders.
    """

    kind: Literal["image_folder"]
    root: Place
    train: str | None = None
    test: str | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("name both folders, train and test, or neither")
        return self


class TableSource(Strict):
    """A CSV file with a column of image paths and label columns, separated by commas, semicolons, tabs or bars.

    Attributes:
        csv: the file.
        path_column: of the images' paths, relative to the file's folder and below it.
        split_column: has train, validation or test in each row.
    """

    kind: Literal["table"]
    csv: Place
    path_column: Name = "path"
    split_column: Name | None = None

    @model_validator(mode="after")
    def _a_file(self) -> Self:
        if is_url(self.csv) and not parse_s3(self.csv, otherwise="a path").prefix:
            raise ValueError(f"csv names a bucket and no object in it: {self.csv!r}")
        return self


class CelebASource(Strict):
    """CelebA as officially released: `root/img_align_celeba/`, `list_attr_celeba.txt` and `list_eval_partition.txt`.

    Each of the 40 attributes is a column of the classes no and yes. Brings its own three splits.

    Attributes:
        root: the folder that holds them.
    """

    kind: Literal["celeba"]
    root: Place


class FairFaceSource(Strict):
    """FairFace as officially released: `root/train/`, `root/val/` and `fairface_label_train.csv`, `…_val.csv`.

    Columns age, gender, race and service_test. Its validation set is the test set here.

    Attributes:
        root: the folder that holds them.
    """

    kind: Literal["fairface"]
    root: Place


Source = Annotated[
    DigitsSource | Cifar10Source | ImageFolderSource | TableSource | CelebASource | FairFaceSource,
    Field(discriminator="kind"),
]


def _as_name(given: Any) -> Any:
    if isinstance(given, list):
        return [_as_name(item) for item in given]
    if isinstance(given, bool):
        return str(given).lower()
    return str(given) if isinstance(given, (int, float)) else given


class LabelSpec(Strict):
    """A label: the source's classes as they are, or a map from each label value to the classes it gathers.

    A plain string is short for the column of that name, under its name.

    Attributes:
        name: what the label means, for reports.
        column: which column of a table, of CelebA or of FairFace holds it; other sources have one column, `class`.
        map: label value -> list of classes; every class of the source must be in exactly one list.
    """

    name: str
    column: Name = "class"
    map: dict[str, list[Name]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _column_by_name(cls, content: Any) -> Any:
        if isinstance(content, str):
            return {"name": content, "column": content}
        if isinstance(content, dict) and isinstance(content.get("map"), dict):
            # Numbers, true and false are names of classes here, quoted or not.
            by_value = {_as_name(value): _as_name(classes) for value, classes in content["map"].items()}
            return {**content, "map": by_value}
        return content

    @property
    def named(self) -> frozenset[str]:
        """Every class that the map gathers."""
        return frozenset(name for classes in (self.map or {}).values() for name in classes)

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if self.map is not None:
            if TO_SORT in self.map:
                raise ValueError(
                    f"{TO_SORT!r} is still in the map: move each class in its list to the value it belongs to, then "
                    f"delete that line; only you know what {self.name!r} is to mean"
                )
            if len(self.map) < 2:
                raise ValueError(f"a label map needs at least two values, got {list(self.map)}")
            seen: dict[str, str] = {}
            for value, classes in self.map.items():
                if not classes:
                    raise ValueError(f"label value {value!r} gathers no class")
                for name in classes:
                    if name in seen:
                        raise ValueError(f"class {name!r} is in both {seen[name]!r} and {value!r}")
                    seen[name] = value
        return self


class Splits(Strict):
    """Stratified split, by fractions of all images, drawn with `seed`.

    Attributes:
        validation: fraction of the non-test images that chooses and compares; ignored if the source brings its own.
        test: fraction held out from every choice; ignored if the source brings its own test set.
        seed: of the draw.
        train_limit, validation_limit, test_limit: keep at most so many images, stratified.
        group: a column of the source, say of persons: images with the same value in it stay in one split.
        duplicates: what happens to images that are equal byte for byte and in different splits: they are refused,
            reported (`warn`), or kept in one split like a group.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)
    train_limit: int | None = Field(None, ge=1)
    validation_limit: int | None = Field(None, ge=1)
    test_limit: int | None = Field(None, ge=1)
    group: Name | None = None
    duplicates: Duplicates = "warn"

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        left_out: dict[str, Any] = {"group": None, "duplicates": "warn"}
        return {key: value for key, value in handler(self).items() if key not in left_out or value != left_out[key]}


class Image(Strict):
    """Images become RGB squares.

    Attributes:
        size: of a side, in pixels.
        fit: the shorter side is resized and the centre cropped, or the image is squashed.
    """

    size: int = Field(32, ge=8, le=1024)
    fit: Literal["center_crop", "squash"] = "center_crop"


class Augment(Strict):
    """Random changes of training images, drawn anew every epoch.

    Attributes:
        flip: mirror left to right, every other image.
        pad_crop: crop after padding each side with so many zero pixels.
        color_jitter: factors of brightness and of contrast are uniform in 1 - color_jitter .. 1 + color_jitter.
    """

    flip: bool = False
    pad_crop: int = Field(0, ge=0, le=64)
    color_jitter: float = Field(0.0, ge=0, le=1)


class Beton(Strict):
    """How FFCV stores images.

    Attributes:
        write_mode: `raw` pixels, `jpg`, or `auto`: raw up to 64 pixels a side.
        jpeg_quality: of `jpg`, percent.
        store: where to look for files that `narl data build --to` wrote, before writing them here.
    """

    write_mode: Literal["auto", "raw", "jpg"] = "auto"
    jpeg_quality: int = Field(95, ge=1, le=100)
    store: Place | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key != "store" or value is not None}


class Pipeline(Strict):
    """Everything that decides which pixels and labels a network sees.

    Attributes:
        name: of the pipeline, in reports and of its cache.
        source: where the images and their classes come from.
        utility: the label that the server is meant to read.
        private: the label that nobody is.
        splits: which images train, which choose, which are reported.
        image: how large they are.
        augment: how training images are changed.
        beton: how FFCV stores them.
        loader: `ffcv`, or `tensor`, which needs no FFCV; `auto`: FFCV where it is installed.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    source: Source
    utility: LabelSpec
    private: LabelSpec
    splits: Splits = Splits()
    image: Image = Image()
    augment: Augment = Augment()
    beton: Beton = Beton()
    loader: Loader = "auto"

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Load the pipeline in a YAML file; relative paths in it are relative to the file.

        Raises:
            ConfigError: unreadable file or illegal content.
        """
        path = Path(path)
        return with_absolute_paths(build(cls, read_yaml(path), str(path)), path.parent)

    @property
    def stored_as(self) -> Literal["raw", "jpg"]:
        """The write mode with `auto` resolved."""
        if self.beton.write_mode != "auto":
            return self.beton.write_mode
        return "raw" if self.image.size <= 64 else "jpg"

    @property
    def content_hash(self) -> str:
        """Changes with anything that changes a pixel, a label or a split; not with loader or augmentation."""
        content = self.model_dump(exclude={"loader": True, "augment": True, "name": True, "source": {"download"}})
        content["beton"].pop("store", None)
        return stable_hash(content)


_Pipeline = TypeVar("_Pipeline", bound=Pipeline)


def with_absolute_paths(pipeline: _Pipeline, folder: Path) -> _Pipeline:
    """The same pipeline with `~` and relative paths resolved against `folder`; URLs stay what they are."""

    def absolute(place: str) -> str:
        return place if is_url(place) else str(resolved(folder / user_path(place)))

    changes: dict[str, Any] = {}
    if (place := place_of(pipeline.source)) is not None:
        changes["source"] = moved(pipeline.source, absolute(place))
    if pipeline.beton.store is not None:
        changes["beton"] = pipeline.beton.model_copy(update={"store": absolute(pipeline.beton.store)})
    return pipeline.model_copy(update=changes)


def place_of(source: Source) -> str | None:
    """Return the path or URL of a source; None if it has none."""
    return getattr(source, _place_key(source), None)


def address_of(source: Source) -> S3Address | None:
    """Tell where on S3 a source's folder lies; None if it is not on S3."""
    place = place_of(source)
    if place is None or not is_url(place):
        return None
    address = parse_s3(place, otherwise="a path")
    if source.kind == "table":
        return replace(address, prefix=address.prefix.rpartition("/")[0])
    return address


def moved(source: Source, place: str) -> Source:
    """Move the source to another path."""
    return source.model_copy(update={_place_key(source): place})


def without_place(source: Source) -> Source:
    """Leave out where the source lies, which may differ between nodes and between two days."""
    return source if place_of(source) is None else moved(source, "")


def _place_key(source: Source) -> str:
    return "csv" if source.kind == "table" else "root"
