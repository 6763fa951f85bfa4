"""The server of a narl bundle: what a client sent to probabilities, with numpy, ONNX Runtime and `narl_client.py`.

    from narl_server import Server

    server = Server()
    probabilities = server.probabilities(sent)    # [B, K], in the order of server.classes

Letters: B images, C, h, w shape of what was sent, K classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from narl_client import HERE, Bundle, BundleError, result_of


class Server:
    """Reads the useful label in answers of the bundle's client.

    Args:
        folder: of the bundle.
        threads: of ONNX Runtime; 0: it chooses.

    Attributes:
        classes: what the K columns of `probabilities` mean.

    Raises:
        BundleError: damaged files, or a graph that cannot be run.
    """

    def __init__(self, folder: Path | str = HERE, *, threads: int = 0) -> None:
        bundle = Bundle(folder)
        self.classes: tuple[str, ...] = tuple(bundle.facts["utility_classes"])
        self._shape = tuple(bundle.facts["feature_shape"])
        self._session = bundle.session("server.onnx", threads)

    def probabilities(self, sent: np.ndarray) -> np.ndarray:
        """Compute the probability of each class: float32 [B, C, h, w] as `Client.answer` gives it -> float64 [B, K].

        Raises:
            BundleError: another shape, or values that are not float32.
        """
        sent = np.asarray(sent)
        if sent.ndim != 4 or sent.shape[1:] != self._shape or sent.dtype != np.float32:
            wanted = ", ".join(map(str, self._shape))
            raise BundleError(f"what was sent must be float32 [B, {wanted}], got {sent.dtype} {list(sent.shape)}")
        outputs = 1 if len(self.classes) == 2 else len(self.classes)  # one logit, the second class's
        found = result_of(self._session, "logits", {"sent": sent}, (len(sent), outputs))
        logits = found.astype(np.float64)
        if outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], 1)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    predict = probabilities  # as MLflow calls it


# MLflow's model registry loads the server by this name.
_load_pyfunc = Server
