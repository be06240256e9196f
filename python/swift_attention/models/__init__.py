"""Language models trained by `attention train`, in PyTorch.

    from swift_attention.models import load
    model = load("runs/tiny-hybrid")                # a run's latest checkpoint, or a checkpoint
    logits = model(torch.tensor([list(b"func ")]))  # tokens [batch, length] are bytes
    more = model.generate(torch.tensor([list(b"func ")]), 100)

The layers run on this package's kernels, forward and backward, so a model can be trained further.
Nothing but PyTorch is needed.
"""

from __future__ import annotations

from ._caches import Cache
from ._checkpoint import load
from ._configuration import ExactLayer, GatedLinearLayer, ModelConfiguration
from ._errors import CheckpointError
from ._model import LanguageModel

__all__ = [
    "Cache",
    "CheckpointError",
    "ExactLayer",
    "GatedLinearLayer",
    "LanguageModel",
    "ModelConfiguration",
    "load",
]
