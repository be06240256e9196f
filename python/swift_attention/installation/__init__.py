"""This package's kernels behind the functions that other packages call.

    import swift_attention

    swift_attention.install()
    ...                              # a program, unchanged
    print(swift_attention.report())  # what ran where, and why
    swift_attention.uninstall()

`python -m swift_attention program.py …` does the same for a program, and so does the environment
variable `SWIFT_ATTENTION_INSTALL`: 1, or the frameworks' names separated by commas.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Dict, Tuple

from ._patches import Patches
from ._report import Report, reports

ENVIRONMENT = "SWIFT_ATTENTION_INSTALL"

# The module of this folder for each framework, and the package that it needs.
_FRAMEWORKS = {
    "transformers": ("_transformers", "transformers"),
    "diffusers": ("_diffusers", "diffusers"),
    "fla": ("_fla", "fla"),
    "torch": ("_torch", "torch"),
}
# Only when named: every caller of the function is affected, not one library.
_ON_REQUEST = frozenset(["torch"])

_installed: Dict[str, Patches] = {}


def install(*frameworks: str) -> Tuple[str, ...]:
    """Puts this package's kernels behind frameworks; installing twice changes nothing.

    A framework that is imported later is changed when it is. Calls that the kernels refuse run
    the original, with one warning that says why.

    Args:
        frameworks: "transformers", "fla", "diffusers" or "torch"; by default all that are there,
            except "torch", whose `scaled_dot_product_attention` many packages share.

    Returns:
        The frameworks that are installed.

    Raises:
        ValueError: An unknown framework, or one whose package is missing.
    """
    for name in frameworks:
        if name not in _FRAMEWORKS:
            raise ValueError(f"frameworks has {name!r}; it must be of {tuple(_FRAMEWORKS)}")
        package = _FRAMEWORKS[name][1]
        if find_spec(package) is None:
            raise ValueError(f"frameworks has {name!r}, whose package {package} is not installed")
    for name in frameworks or _FRAMEWORKS:
        module, package = _FRAMEWORKS[name]
        is_wanted = frameworks or (name not in _ON_REQUEST and find_spec(package) is not None)
        if is_wanted and name not in _installed:
            patches = Patches()
            try:
                import_module(f".{module}", __name__).install(patches)
            except BaseException:
                patches.undo()
                raise
            _installed[name] = patches
    return tuple(_installed)


def uninstall(*frameworks: str) -> None:
    """Restores what `install` changed; by default in all frameworks.

    Models that were made with `attn_implementation="swift_attention"` need it to be installed.
    """
    for name in frameworks or tuple(_installed):
        if name not in _FRAMEWORKS:
            raise ValueError(f"frameworks has {name!r}; it must be of {tuple(_FRAMEWORKS)}")
        patches = _installed.pop(name, None)
        if patches is not None:
            patches.undo()


def report() -> Report:
    """What ran since the start or `report().clear()`: where, how often, and why not here."""
    return reports


def install_from_environment() -> None:
    """Installs what the environment variable names.

    Raises:
        ValueError: As `install` does.
    """
    named = os.environ.get(ENVIRONMENT, "").strip()
    if named in ("", "0"):
        return
    install(*([] if named == "1" else [name.strip() for name in named.split(",")]))
