"""The callback that looks before training does."""

import warnings
from typing import Any

import keras

from .asking import first_batch
from .diagnosing import diagnose
from .finding import Findings


class DiagnoseFirstBatch(keras.callbacks.Callback):
    """Runs `keras_xent.diagnose` on a first batch when training begins, and warns of what it finds.

    Keras shows callbacks no data, so it is given the same as `fit`. The model trains as it would have without.

    Args:
        x: Inputs, or a data set of batches that can be read again, whose first batch is taken.
        y: Targets; None with a data set.
        sample_weight: Weights; None with a data set.
        batch_size: How many of the first examples are looked at.
        on_error: `"warn"`, or `"raise"` to end training before its first step if there is a finding of severity `"error"`.

    Returns:
        As `findings`, once training has begun: what `keras_xent.diagnose` returned.

    Raises:
        ValueError: As `keras_xent.diagnose`; another `on_error`; from `fit`, with `on_error="raise"`, the findings.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.compile("sgd", keras_xent.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 3
        >>> callback = keras_xent.DiagnoseFirstBatch(x, y)
        >>> _ = model.fit(x, y, verbose=0, callbacks=[callback])
        >>> callback.findings
        []

    Source:
        As `keras_xent.diagnose`.
    """

    def __init__(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int = 256, on_error: str = "warn"
    ) -> None:
        super().__init__()
        if on_error not in ("warn", "raise"):
            raise ValueError(f"`on_error` must be 'warn' or 'raise'. Received: on_error={on_error!r}.")
        self._data = x, y, sample_weight
        self.batch_size, self.on_error = batch_size, on_error
        self.findings: Findings | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Looks at the batch."""
        x, y, sample_weight = first_batch(*self._data)
        model: Any = self.model
        self.findings = diagnose(model, x, y, sample_weight=sample_weight, max_examples=self.batch_size)
        if self.on_error == "raise" and any(finding.severity == "error" for finding in self.findings):
            raise ValueError(f"keras_xent.DiagnoseFirstBatch found:\n{self.findings}")
        for finding in self.findings:
            warnings.warn(f"keras_xent.diagnose: {finding}", stacklevel=2)
