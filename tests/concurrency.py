"""Many threads at once, none at all, and forked children."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, ModuleType
from typing import Any


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work`` in some threads that begin together; re-raise what one of them raised."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait(20)
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@contextmanager
def between_lines(modules: Sequence[ModuleType], work: Callable[[], None]) -> Iterator[None]:
    """Run ``work`` before each line of these modules that this thread comes to: all that may come in between, once."""
    files = {module.__file__ for module in modules}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename in files:
            work()
        return trace

    usual = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(usual)


def interruptions(modules: Sequence[ModuleType]) -> Iterator[Callable[[Callable[[], None]], AbstractContextManager[None]]]:
    """Contexts that interrupt once what runs in them: the first before its first line in these modules, then before its second."""
    at, lines = 0, 1

    @contextmanager
    def interrupted(work: Callable[[], None]) -> Iterator[None]:
        def count() -> None:
            nonlocal lines
            lines += 1
            if lines == at:
                work()

        with between_lines(modules, count):
            yield

    while lines >= at:
        at, lines = at + 1, 0
        yield interrupted


@contextmanager
def no_new_threads() -> Iterator[None]:
    """Make every start of a thread fail, as at a limit of the machine: no stack is that large."""
    usual = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(usual)


def fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child, which ends without any clean-up. Returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    signal.alarm(20)  # a child that hangs ends
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may run on into pytest
        traceback.print_exc()
    finally:
        os._exit(status)


def in_child(work: Callable[[], None]) -> None:
    """Run ``work`` in a forked child; what it asserts must hold."""
    assert ended(fork(work)) == 0, "the child failed: see its standard error"


def ended(pid: int) -> int:
    """Exit status of a forked child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
