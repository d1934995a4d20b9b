"""Methods of other people's classes, replaced so that each can be put back as it was."""

import copy
import functools
import inspect
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

Function = Callable[..., Any]
Wrap = Callable[[Function], Function]
Owner = type | ModuleType

_LOG = logging.getLogger("otel_mlmon")

_OURS: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
"""Every replacement by its id: what a class holds may have no hash, and a copied attribute would go with ``functools.wraps``."""


class Patches:
    """What one instrumentor has replaced.

    Only plain functions are, by plain functions: a bound method then pickles and a signature reads as before, which a proxy's does
    not. A method behind scikit-learn's ``available_if`` keeps its descriptor, and so who has it.
    """

    def __init__(self) -> None:
        self._owners: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # classes come and go
        self._names: set[str] = set()
        self._made: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._roots: list[tuple[Any, Any, Any]] = []

    def replace(self, owner: Owner, name: str, wrap: Wrap) -> None:
        """Replace a function that the owner itself holds; nothing if it holds none, or it is replaced already.

        Args:
            owner: Class or module.
            name: The attribute.
            wrap: Makes the replacement of the function.
        """
        value = vars(owner).get(name)
        if value is None:
            return
        if _OURS.get(id(value)) is value:
            if self._made.get(id(value)) is value:  # under another name or in a copied class: dataclass(slots=True) makes one
                self._owners[id(owner)] = owner
                self._names.add(name)
            return
        if type(value) is FunctionType:
            if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
                return  # whoever asks for its kind must find it; and it is no method as the library calls it
            ours: Any = wrap(value)
        elif type(getattr(value, "fn", None)) is FunctionType and hasattr(value, "check"):  # sklearn's available_if
            ours = copy.copy(value)
            ours.fn = wrap(value.fn)
        else:
            return
        ours.replaced = value
        _OURS[id(ours)] = self._made[id(ours)] = ours
        self._owners[id(owner)] = owner
        self._names.add(name)
        setattr(owner, name, ours)

    def methods(self, kind: type, wraps: Mapping[str, Wrap]) -> None:
        """Replace methods of a class wherever in its ancestry they are written: a mixin may be no subclass of any root."""
        for ancestor in kind.__mro__:
            for name, wrap in wraps.items():
                self.replace(ancestor, name, wrap)

    def family(self, root: Any, wraps: Mapping[str, Wrap]) -> None:
        """Replace methods of a class, of all its subclasses, and of those that are still to be written."""
        if not any(known is root for known, *_ in self._roots):
            before = vars(root).get("__init_subclass__")

            def met(kind: Any, /, **keywords: Any) -> None:
                if before is None:
                    super(root, kind).__init_subclass__(**keywords)
                else:
                    before.__get__(None, kind)(**keywords)
                if self._roots:
                    self._meet(kind, wraps)

            ours: Any = classmethod(met)
            self._roots.append((root, before, ours))
            root.__init_subclass__ = ours
        for kind in _kinds(root):
            self._meet(kind, wraps)

    def _meet(self, kind: type, wraps: Mapping[str, Wrap]) -> None:
        try:
            self.methods(kind, wraps)
        except Exception as error:  # noqa: BLE001 - a metaclass may forbid it; the user's class must come into being all the same
            _LOG.warning("class %r is not watched: %s", kind.__name__, error)

    def undo(self) -> None:
        """Put back the very attributes that were there. What somebody else has replaced since is left alone."""
        for root, before, ours in self._roots:
            if vars(root).get("__init_subclass__") is not ours:
                continue
            if before is None:
                del root.__init_subclass__
            else:
                root.__init_subclass__ = before
        self._roots.clear()
        for owner in list(self._owners.values()):
            for name in self._names:
                value = vars(owner).get(name)
                ours = self._made.get(id(value))
                if ours is None or ours is not value:
                    continue
                try:
                    setattr(owner, name, ours.replaced)
                except Exception as error:  # noqa: BLE001 - a metaclass may forbid it; the others are put back all the same
                    _LOG.warning("%s.%s stays replaced: %s", owner.__name__, name, error)
        self._owners.clear()
        self._made.clear()


def _kinds(root: type) -> Iterator[type]:
    """A class and all its subclasses."""
    yield root
    seen: set[type] = {root}
    waiting: list[type] = [root]
    while waiting:
        subclasses: list[type] = type.__subclasses__(waiting.pop())
        for kind in subclasses:
            if kind not in seen:
                seen.add(kind)
                waiting.append(kind)
                yield kind


def wrapper(function: Function, around: Callable[..., Any], *more: str) -> Function:
    """A function that calls ``around(function, args, kwargs, *more)`` and looks like ``function``.

    Args:
        function: A function, or a method as it is written in its class: its object is then the first argument.
        around: A function of a module: a class from ``__main__`` is pickled with its methods' closures, and those hold only this.
        more: What it is told further.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return around(function, args, kwargs, *more)

    return call
