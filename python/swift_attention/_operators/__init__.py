"""The package's operators, as `torch.library` knows them."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

import torch

# Every file of this folder defines its operators in this namespace.
NAMESPACE = "swift_attention"
library = torch.library.Library(NAMESPACE, "FRAGMENT")

# For each operator: the verdict on a call, and results of the right shapes without content.
explainers: Dict[object, Callable[..., Tuple[str, object]]] = {}
