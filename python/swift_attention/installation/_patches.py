"""Changes to other packages that can be undone, now or when a module is imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import re
import sys
from types import ModuleType
from typing import Any, Callable, List, MutableMapping

_MISSING = object()


class Patches:
    """Changes in the order in which they were made."""

    def __init__(self) -> None:
        self._undo: List[Callable[[], None]] = []

    def set_attribute(self, owner: Any, name: str, value: object) -> None:
        """Sets an attribute of a module or class."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)

        def restore() -> None:
            # What somebody else has put there since is theirs.
            if vars(owner).get(name, _MISSING) is not value:
                return
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._undo.append(restore)

    def set_item(self, mapping: MutableMapping, key: object, value: object) -> None:
        """Sets an entry of a mapping."""
        before = mapping.get(key, _MISSING)
        mapping[key] = value

        def restore() -> None:
            if mapping.get(key, _MISSING) is not value:
                return
            if before is _MISSING:
                del mapping[key]
            else:
                mapping[key] = before

        self._undo.append(restore)

    def when_imported(self, pattern: str, change: Callable[[ModuleType], None]) -> None:
        """Calls `change` with every module of such a name, after it has been imported."""
        finder = _Finder(re.compile(pattern), change)
        for name, module in list(sys.modules.items()):
            if module is not None and finder.pattern.fullmatch(name):
                change(module)
        sys.meta_path.insert(0, finder)
        self._undo.append(lambda: sys.meta_path.remove(finder))

    def undo(self) -> None:
        """Restores everything, the last change first."""
        while self._undo:
            self._undo.pop()()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as the other finders do, and has them changed once they are executed."""

    def __init__(self, pattern: re.Pattern, change: Callable[[ModuleType], None]) -> None:
        self.pattern = pattern
        self._change = change

    def find_spec(self, fullname, path=None, target=None):
        if not self.pattern.fullmatch(fullname):
            return None
        finders = sys.meta_path
        for finder in finders[finders.index(self) + 1:]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._change)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """A loader that calls `change` after the module has been executed."""

    def __init__(self, loader: Any, change: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec: importlib.machinery.ModuleSpec):
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps no trace of this loader.
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._change(module)
