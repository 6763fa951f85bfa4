"""Where images come from: one function or class a kind, found here by the `kind` of a pipeline's source."""

from __future__ import annotations

from narl.config.pipeline import Source as SourceConfig
from narl.data.sources.base import Source
from narl.data.sources.celeba import celeba
from narl.data.sources.cifar10 import Cifar10
from narl.data.sources.digits import Digits
from narl.data.sources.fairface import fairface
from narl.data.sources.image_folder import image_folder
from narl.data.sources.table import table

SOURCES = {
    "digits": Digits,
    "cifar10": Cifar10,
    "image_folder": image_folder,
    "table": table,
    "celeba": celeba,
    "fairface": fairface,
}


def open_source(config: SourceConfig) -> Source:
    """The source that `config` describes.

    Raises:
        DataError: missing or unusable data.
    """
    return SOURCES[config.kind](config)
