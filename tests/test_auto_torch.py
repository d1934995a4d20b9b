"""Auto-instrumentation of torch. It is no dependency: these tests are for machines that have it."""

import copy
import importlib.util
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from otel_mlmon import Monitor
from otel_mlmon.integrations.automatic import MONITORS
from otel_mlmon.integrations.torch import TorchInstrumentor
from tests.readings import counted

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None

pytestmark = [
    pytest.mark.optional,
    pytest.mark.skipif(torch is None, reason="torch is not installed"),
    pytest.mark.filterwarnings("ignore"),  # torch deprecates much of itself, by version
]


def new_net() -> Any:
    """Three modules within the outermost one."""
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).eval()


def batch() -> Any:
    """Four rows."""
    return torch.arange(12.0).reshape(4, 3)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """Takes every call of a module."""
    with Monitor("m", learn_rows=4) as made:
        TorchInstrumentor().instrument(monitor=made)
        yield made
        TorchInstrumentor().uninstrument()


def calls(monitor: Monitor) -> tuple[float, float]:
    """Calls and rows."""
    assert monitor.flush(30)  # learning loads scipy.stats
    return counted(monitor)[0], monitor.snapshot().rows


def test_a_call_in_eval_mode_counts_once(monitor: Monitor) -> None:
    net = new_net()
    with torch.no_grad():
        result = net(batch())
    assert calls(monitor) == (1, 4)
    one = monitor.snapshot().features
    assert (one["x1"].minimum, one["x1"].maximum) == (1.0, 10.0)
    assert one["@prediction"].maximum == pytest.approx(float(result.max()))


def test_training_does_not_count(monitor: Monitor) -> None:
    net = new_net().train()
    net(batch()).sum().backward()
    torch.nn.MSELoss()(net(batch()), torch.zeros(4, 1))
    assert calls(monitor) == (0, 0)
    net.eval()(batch())
    assert calls(monitor) == (1, 4)


def test_images_and_tokens_are_only_counted(monitor: Monitor) -> None:
    torch.nn.Conv2d(1, 2, 2).eval()(torch.zeros(5, 1, 4, 4))
    torch.nn.Embedding(10, 2).eval()(torch.zeros(6, 7, dtype=torch.int64))
    torch.nn.Embedding(10, 2).eval()(input=torch.zeros(2, 7, dtype=torch.int64))
    assert calls(monitor) == (3, 13)
    assert monitor.schema is None  # there was nothing to learn features from


def test_exceptions_and_results_pass_through(monitor: Monitor) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        new_net()(torch.zeros(2, 5))
    assert counted(monitor) == (0, 1, 0)

    class Same(torch.nn.Module):
        def forward(self, data: Any) -> Any:
            return data

    data = batch()
    assert Same().eval()(data) is data


@pytest.mark.parametrize("first", [True, False], ids=["instrumented first", "compiled first"])
def test_a_compiled_module_counts_once_and_compiles_whole(first: bool) -> None:
    """``fullgraph`` raises where our wrapper would break the graph."""
    net = new_net()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with torch.no_grad(), Monitor("m") as monitor:
        expected = net(batch())
        if not first:
            compiled(batch())
        TorchInstrumentor().instrument(monitor=monitor)
        torch._dynamo.reset()
        for count in (1, 2):
            assert torch.equal(compiled(batch()), expected)
            assert counted(monitor)[0] == count
        TorchInstrumentor().uninstrument()


def test_a_call_inside_a_compiled_function_compiles_whole(monitor: Monitor) -> None:
    net = new_net()
    function = torch.compile(lambda data: net(data) * 2, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(function(batch()), net(batch()) * 2)


def test_script_trace_export_and_symbolic_trace_are_left_alone(monitor: Monitor) -> None:
    net = new_net()
    scripted = torch.jit.script(net)
    exported = torch.export.export(net, (batch(),))
    graph = torch.fx.symbolic_trace(net)
    torch.jit.trace(net, (batch(),), check_trace=False)
    assert calls(monitor) == (0, 0)
    with torch.no_grad():
        assert torch.equal(scripted(batch()), exported.module()(batch()))
        assert torch.equal(graph(batch()), scripted(batch()))
    assert [node.op for node in graph.graph.nodes].count("call_module") == 3
    assert counted(monitor)[0] == 3


def test_modules_copy_and_pickle_as_before(monitor: Monitor) -> None:
    net = new_net()
    with torch.no_grad():
        assert torch.equal(pickle.loads(pickle.dumps(net))(batch()), copy.deepcopy(net)(batch()))
    assert calls(monitor) == (2, 8)


def test_uninstrument_restores_the_very_same_call() -> None:
    before = vars(torch.nn.Module)["__call__"]
    with Monitor("m") as monitor:
        TorchInstrumentor().instrument(monitor=monitor)
        assert vars(torch.nn.Module)["__call__"] is not before
        TorchInstrumentor().uninstrument()
    assert vars(torch.nn.Module)["__call__"] is before


def test_a_module_is_named_by_its_class_however_it_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_MLMON_TASK", "multiclass")
    net = new_net()
    forms = net, torch.compile(net, backend="eager"), torch.jit.script(net), torch.fx.symbolic_trace(net)
    TorchInstrumentor().instrument()
    with torch.no_grad():
        for form in forms:
            form(batch())
    made = MONITORS.by_name()
    assert {name: (counted(one)[0], one.task) for name, one in made.items()} == {"Sequential": (4, "multiclass")}
    TorchInstrumentor().uninstrument()


def test_threads_count_their_own_calls(monitor: Monitor) -> None:
    net = new_net()
    threads = [threading.Thread(target=net, args=(batch(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert calls(monitor) == (4, 16)
