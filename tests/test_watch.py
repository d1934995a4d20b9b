"""The decorator: the function stays what it was to its callers, and each call counts once."""

import asyncio
import copy
import functools
import inspect
import pickle
import threading
import traceback
import typing
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from types import MethodType
from typing import Any

import pytest

from otel_mlmon import Feature, Monitor, Schema, catalog
from otel_mlmon.settings import Settings
from tests.readings import counted, reading, readings, value

A = Schema((Feature("a"),))
SETTINGS = Settings(system_seconds=0, drain_seconds=30)
ROW = {"a": 1.0}

module_monitor = Monitor("module", schema=A, settings=SETTINGS)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor("m", schema=A, settings=SETTINGS) as one:
        yield one


def violations(monitor: Monitor) -> float:
    assert monitor.flush()
    one = monitor.snapshot()
    return sum(one.violations.values()) + sum(one.errors.values())


# ---------------------------------------------------------------- what callers see


def plain(features: Any, *, scale: float = 2.0) -> Any:
    """Doubles."""
    return features["a"] * scale


async def coroutine(features: Any, *, scale: float = 2.0) -> Any:
    """Doubles, later."""
    return features["a"] * scale


def generator(features: Any, *, scale: float = 2.0) -> Generator[Any, Any, Any]:
    """Doubles, again and again."""
    for _ in range(3):
        yield features["a"] * scale
    return "done"


async def async_generator(features: Any, *, scale: float = 2.0) -> AsyncGenerator[Any, Any]:
    """Doubles, again and again, later."""
    for _ in range(3):
        yield features["a"] * scale


KINDS = [plain, coroutine, generator, async_generator]
WAYS: list[Callable[[Monitor], Callable[[Any], Any]]] = [
    lambda monitor: monitor.watch,
    lambda monitor: monitor.watch(features=lambda call: call.args[0], prediction=lambda call: call.result),
]


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
@pytest.mark.parametrize("function", KINDS, ids=lambda one: one.__name__)
def test_a_watched_function_looks_like_itself(monitor: Monitor, function: Any, way: Callable[[Monitor], Any]) -> None:
    watched = way(monitor)(function)
    assert inspect.signature(watched) == inspect.signature(function)
    assert typing.get_type_hints(watched) == typing.get_type_hints(function)
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(watched, name) == getattr(function, name)
    for asks in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        callable,
    ):
        assert asks(watched) == asks(function)
    assert asyncio.iscoroutinefunction(watched) == asyncio.iscoroutinefunction(function)


@pytest.mark.parametrize("way", WAYS, ids=["bare", "extractors"])
def test_every_kind_of_function_gives_what_it_gave(monitor: Monitor, way: Callable[[Monitor], Any]) -> None:
    watch = way(monitor)
    assert watch(plain)(ROW, scale=3.0) == 3.0
    assert asyncio.run(watch(coroutine)(ROW, scale=3.0)) == 3.0
    assert list(watch(generator)(ROW, scale=3.0)) == [3.0] * 3

    async def items() -> list[Any]:
        return [item async for item in watch(async_generator)(ROW, scale=3.0)]

    assert asyncio.run(items()) == [3.0] * 3
    assert counted(monitor) == (4, 0, 0)
    assert (value(monitor), violations(monitor)) == (1.0, 0)


def test_the_result_is_the_same_object(monitor: Monitor) -> None:
    result = [object()]
    assert monitor.watch(lambda row: result)(ROW) is result


@pytest.mark.parametrize(
    "make",
    [threading.Lock, lambda: (item for item in [1]), lambda: open("/dev/null"), lambda: asyncio.sleep(0)],  # noqa: SIM115 - closed below
    ids=["lock", "iterator", "file", "coroutine"],
)
def test_a_result_that_cannot_be_copied_is_a_call_all_the_same(monitor: Monitor, make: Callable[[], Any]) -> None:
    result = make()
    assert monitor.watch(lambda row: result)(ROW) is result
    assert counted(monitor) == (1, 0, 0)
    assert monitor.snapshot().rows == 1
    if hasattr(result, "close"):
        result.close()


def test_an_exception_passes_untouched_with_the_users_frame(monitor: Monitor) -> None:
    error = KeyError("mine")

    def failing(row: Any) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        monitor.watch(failing)(ROW)
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].name == "failing"
    assert counted(monitor) == (0, 1, 0)
    assert readings(monitor, catalog.CALL_ERRORS) == {("KeyError",): 1}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda one: type(one).__name__)
def test_what_is_no_exception_passes_and_counts_too(monitor: Monitor, error: BaseException) -> None:
    def leaving(row: Any) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        monitor.watch(leaving)(ROW)
    assert caught.value is error
    assert counted(monitor) == (0, 1, 0)


def test_a_coroutines_exception_passes_untouched(monitor: Monitor) -> None:
    error = KeyError("mine")

    @monitor.watch
    async def failing(row: Any) -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(KeyError) as caught:
        asyncio.run(failing(ROW))
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "failing"
    assert counted(monitor) == (0, 1, 0)


def test_wrong_arguments_raise_what_python_raises(monitor: Monitor) -> None:
    with pytest.raises(TypeError, match=r"plain\(\) missing 1 required positional argument: 'features'"):
        monitor.watch(plain)()  # type: ignore[call-arg]  # that is the point
    assert counted(monitor) == (0, 1, 0)


module_level = module_monitor.watch(plain)
plain_itself = plain
plain = module_level


def test_a_watched_function_of_a_module_can_be_pickled() -> None:
    """So that it can go to a process pool, as it could before."""
    assert pickle.loads(pickle.dumps(plain)) is plain


def test_a_watched_function_is_copied_as_functions_are(monitor: Monitor) -> None:
    """A model that holds one as an attribute can be cloned."""
    assert copy.copy(plain) is plain
    assert copy.deepcopy({"predict": plain})["predict"] is plain


@pytest.mark.parametrize("wrong", [3, int, "predict"])
def test_only_functions_and_callable_objects_can_be_watched(monitor: Monitor, wrong: Any) -> None:
    with pytest.raises(ValueError, match="watch: expected a function"):
        monitor.watch(wrong)


# ---------------------------------------------------------------- methods, objects, partials


def decorated(function: Any) -> Any:
    """Under the plainest decorator a watched method is called as a function, its object first."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def test_methods_of_every_kind_count_and_read_their_row(monitor: Monitor) -> None:
    class Model:
        @monitor.watch
        def method(self, row: Any) -> Any:
            return self, row["a"]

        @monitor.watch
        @classmethod
        def outer_class(cls, row: Any) -> Any:
            return cls, row["a"]

        @classmethod
        @monitor.watch
        def inner_class(cls, row: Any) -> Any:
            return cls, row["a"]

        @monitor.watch
        @staticmethod
        def outer_static(row: Any) -> Any:
            return row["a"]

        @staticmethod
        @monitor.watch
        def inner_static(row: Any) -> Any:
            return row["a"]

        @monitor.watch
        async def later(self, row: Any) -> Any:
            return self, row["a"]

        @decorated
        @monitor.watch
        def under(self, row: Any) -> Any:
            return self, row["a"]

    class Heir(Model):
        pass

    model = Heir()
    row = {"a": 7.0}
    assert model.method(row) == (model, 7.0)
    assert Heir.method(model, row) == (model, 7.0)
    assert model.method(row=row) == (model, 7.0)
    for bound in (model.outer_class, Heir.outer_class, model.inner_class, Heir.inner_class):
        assert bound(row) == (Heir, 7.0)
    for bound in (model.outer_static, Heir.outer_static, model.inner_static, Heir.inner_static):
        assert bound(row) == 7.0
    assert asyncio.run(model.later(row)) == (model, 7.0)
    assert model.under(row) == (model, 7.0)
    assert monitor.watch(MethodType(Model.method.__wrapped__, model))(row) == (model, 7.0)  # type: ignore[attr-defined]
    assert counted(monitor) == (14, 0, 0)
    assert (value(monitor), violations(monitor)) == (7.0, 0)


def test_an_overridden_method_may_call_its_parents(monitor: Monitor) -> None:
    class Model:
        @monitor.watch
        def predict(self, row: Any) -> Any:
            return row["a"]

    class Heir(Model):
        @monitor.watch
        def predict(self, row: Any) -> Any:
            return super().predict(row) * 2

    assert Heir().predict({"a": 7.0}) == 14.0
    assert counted(monitor) == (2, 0, 0)
    assert value(monitor) == 7.0


def test_callable_objects_count_and_keep_their_attributes(monitor: Monitor) -> None:
    class Model:
        threshold = 0.5

        def __call__(self, row: Any) -> Any:
            return row["a"] > self.threshold

    class Later:
        async def __call__(self, row: Any) -> Any:
            return row["a"]

    model = Model()
    watched = monitor.watch(model)
    assert watched(ROW) is True
    watched.threshold = 2.0
    assert (watched(ROW), model.threshold) == (False, 2.0)
    assert asyncio.run(monitor.watch(Later())(ROW)) == 1.0
    assert counted(monitor) == (3, 0, 0)
    assert (value(monitor), violations(monitor)) == (1.0, 0)


def test_partials_count_and_stay_partials(monitor: Monitor) -> None:
    for function in (plain_itself, coroutine):
        partial = functools.partial(function, scale=5.0)
        watched = monitor.watch(partial)
        assert (watched.func, watched.keywords) == (function, {"scale": 5.0})
        assert inspect.iscoroutinefunction(watched) == inspect.iscoroutinefunction(partial)
        result = watched(ROW)
        assert (asyncio.run(result) if inspect.iscoroutine(result) else result) == 5.0
    assert counted(monitor) == (2, 0, 0)
    assert (value(monitor), violations(monitor)) == (1.0, 0)


def test_a_builtin_can_be_watched(monitor: Monitor) -> None:
    assert monitor.watch(max)({"a": 1.0}) == "a"
    assert counted(monitor) == (1, 0, 0)


# ---------------------------------------------------------------- calls


@pytest.mark.parametrize("part", ["features", "prediction"])
@pytest.mark.parametrize("function", KINDS, ids=lambda one: one.__name__)
def test_an_extractor_that_raises_costs_its_part_and_counts(monitor: Monitor, function: Any, part: str) -> None:
    def extract(call: Any) -> Any:
        raise LookupError("in the extractor")

    watched = monitor.watch(**{part: extract})(function)

    async def drive() -> Any:
        result = watched(ROW)
        if inspect.isasyncgen(result):
            return [item async for item in result]
        if inspect.isgenerator(result):
            return list(result)
        return await result if inspect.iscoroutine(result) else result

    assert asyncio.run(drive()) in (2.0, [2.0] * 3)
    assert counted(monitor) == (1, 0, 0)
    assert reading(monitor, catalog.INTERNAL_ERRORS, "extractor") == 1
    if part == "prediction":
        assert value(monitor) == 1.0


def test_calls_are_active_while_they_run(monitor: Monitor) -> None:
    """Twelve at once, then none: threads stand at a barrier inside of the watched function."""
    inside, leave = threading.Barrier(13), threading.Barrier(13)

    @monitor.watch
    def predict(row: Any) -> float:
        inside.wait(20)
        leave.wait(20)
        return 0.5

    threads = [threading.Thread(target=predict, args=(ROW,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    inside.wait(20)
    active = [reading(monitor, catalog.CALLS_ACTIVE) for _ in range(2)]
    leave.wait(20)
    for thread in threads:
        thread.join(20)
    assert active == [12, 12]
    assert reading(monitor, catalog.CALLS_ACTIVE) == 0
    assert counted(monitor) == (12, 0, 0)
