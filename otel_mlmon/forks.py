"""What begins anew in a forked child, and what ends with a process of multiprocessing."""

import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

_HOOKS: "weakref.WeakKeyDictionary[Any, Callable[[Any], None]]" = weakref.WeakKeyDictionary()
"""Methods by object. What is registered with Python cannot be taken back, so it must not keep what it calls alive."""


def in_each_child(hook: Callable[[], None]) -> None:
    """Call a method in every forked child, as long as its object lives; one method an object."""
    _HOOKS[hook.__self__] = hook.__func__  # type: ignore[attr-defined]  # of a method, which has both


def at_child_exit(function: Callable[[], None], *, first: bool = False) -> None:
    """Call a function when this process ends, where it is one of multiprocessing: those have no exit handlers (``os._exit``).

    Args:
        function: What to call.
        first: Whether it comes before the others.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # there already

        Finalize(None, function, exitpriority=int(first))


def _after_fork() -> None:
    for owner, hook in list(_HOOKS.items()):
        hook(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
