"""What is derived of rows, against scikit-learn, NumPy and counting by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from otel_mlmon.derivation.projection import principal, products
from otel_mlmon.derivation.reconstruction import Reconstruction
from otel_mlmon.derivation.sampling import spread
from otel_mlmon.derivation.space import Space
from otel_mlmon.derivation.words import Vocabulary
from otel_mlmon.feature import Feature
from tests.tensors import Tensor

Floats = npt.NDArray[np.float64]


def rows_of(count: int, width: int, *, seed: int = 0) -> Floats:
    """Rows whose directions vary differently."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(count, width)) * np.geomspace(3, 0.1, width) @ rng.normal(size=(width, width)))


# ---------------------------------------------------------------- principal components
@pytest.mark.parametrize("shape", [(300, 6), (40, 40), (20, 60)])
def test_principal_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    """Of many rows and of wide ones, whichever matrix is decomposed; but for the sign, which is ours to choose."""
    rows = rows_of(*shape)
    variances, vectors = principal(rows - rows.mean(axis=0))
    wanted = PCA(svd_solver="full").fit(rows)
    few = 5
    np.testing.assert_allclose(variances[:few], wanted.explained_variance_[:few] * (len(rows) - 1) / len(rows), rtol=1e-9)
    np.testing.assert_allclose(np.abs(vectors[:few]), np.abs(wanted.components_[:few]), rtol=1e-7, atol=1e-9)
    assert (vectors[np.arange(few), np.abs(vectors[:few]).argmax(axis=1)] > 0).all()


def test_directions_without_variance_are_no_components() -> None:
    rows = rows_of(100, 3)
    twice = np.hstack([rows, rows])
    assert len(principal(twice - twice.mean(axis=0))[0]) == 3
    assert [part.shape for part in principal(np.zeros((5, 4)))] == [(0,), (0, 4)]
    assert [part.shape for part in principal(np.zeros((0, 4)))] == [(0,), (0, 4)]


def test_products_in_parts_are_the_product() -> None:
    axes, columns = rows_of(50, 600), rows_of(600, 100)
    np.testing.assert_allclose(products(axes, columns), axes @ columns, rtol=1e-12)


@pytest.mark.parametrize(("rows", "most"), [(0, 1), (5, 9), (1_000, 7), (1_024, 1_023), (5_000, 2_000)])
def test_rows_are_spread_over_all(rows: int, most: int) -> None:
    """So many, none twice, one in each stretch; and not each second row, as two sources in turn would want it."""
    chosen = spread(rows, most)
    assert len(chosen) == min(rows, most)
    assert sorted(set(chosen.tolist())) == chosen.tolist()
    if rows > most:
        stretches = [place * rows // most for place in range(most)]
        assert (np.searchsorted(stretches, chosen, side="right") - 1).tolist() == list(range(most))
    assert set(spread(1_024, 512) % 2) == {0, 1}


# ---------------------------------------------------------------- reconstruction
def error_by_scikit_learn(fitted: Floats, rows: Floats) -> Floats:
    """The whole chain: standardise, clip, project, come back."""
    scaler = StandardScaler().fit(fitted)
    pca = PCA(0.65, svd_solver="full").fit(np.clip(scaler.transform(fitted), -8, 8))
    z = np.nan_to_num(np.clip(scaler.transform(rows), -8, 8))
    return np.asarray(np.linalg.norm(z - pca.inverse_transform(pca.transform(z)), axis=1))


@pytest.mark.parametrize("width", [3, 8, 40])
def test_reconstruction_errors_are_scikit_learns(width: int) -> None:
    """Outliers beyond the clip and gaps included; a gap is the mean."""
    fitted, rows = rows_of(400, width), rows_of(1_000, width, seed=1)
    fitted[0] *= 200  # clipped, so that the mean of what is clipped is not 0
    rows[:5] *= 100
    rows[5:9, 1] = math.nan
    fit = Reconstruction.fit([(f"x{place}", column, ()) for place, column in enumerate(fitted.T)])
    assert fit is not None
    found = fit({f"x{place}": column for place, column in enumerate(rows.T)}, {}).values
    np.testing.assert_allclose(found, error_by_scikit_learn(fitted, rows), rtol=0, atol=2e-9)


def test_categories_enter_by_their_frequency() -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 500, p=[0.6, 0.3, 0.1])
    numbers = rng.normal(size=(2, 500))
    shares = [0.6, 0.3, 0.1]
    column = np.array(shares)[codes]
    inputs: list[tuple[str, Floats, Any]] = [("a", numbers[0], ()), ("b", numbers[1], ()), ("c", column, (*shares, 0.0))]
    fit = Reconstruction.fit(inputs)
    assert fit is not None
    found = fit({"a": numbers[0], "b": numbers[1]}, {"c": codes}).values
    np.testing.assert_allclose(found, error_by_scikit_learn(*[np.vstack([numbers, column]).T] * 2), rtol=0, atol=2e-9)
    never, missing = (fit({"a": numbers[0][:1], "b": numbers[1][:1]}, {"c": np.array([code])}).values[0] for code in (3, -1))
    at_mean = np.array([[*numbers[:, 0], 0.0], [*numbers[:, 0], math.nan]])
    wanted = error_by_scikit_learn(np.vstack([numbers, column]).T, at_mean)
    np.testing.assert_allclose([never, missing], wanted, rtol=0, atol=2e-9)


def test_few_rows_or_inputs_have_no_reconstruction_error() -> None:
    columns = rows_of(49, 5).T
    assert Reconstruction.fit([(str(place), column, ()) for place, column in enumerate(columns)]) is None
    columns = rows_of(500, 3).T
    columns[1] = 7.0
    assert Reconstruction.fit([(str(place), column, ()) for place, column in enumerate(columns)]) is None


def test_inputs_that_follow_from_each_other_leave_nothing_not_even_rounding() -> None:
    """Bins of rounding errors would drift with the build of the linear algebra."""
    x = np.random.default_rng(0).normal(size=500)
    fit = Reconstruction.fit([("x", x, ()), ("double", 2 * x, ()), ("fahrenheit", 1.8 * x + 32, ())])
    assert fit is not None
    assert set(fit({"x": x, "double": 2 * x, "fahrenheit": 1.8 * x + 32}, {}).values.tolist()) == {0.0}
    assert fit({"x": x, "double": x[::-1].copy(), "fahrenheit": 1.8 * x + 32}, {}).values.mean() > 0.3


def test_a_row_has_the_same_error_in_whatever_table_it_comes() -> None:
    fitted = rows_of(400, 12)
    fit = Reconstruction.fit([(str(place), column, ()) for place, column in enumerate(fitted.T)])
    assert fit is not None
    whole = fit({str(place): column for place, column in enumerate(fitted.T)}, {}).values
    alone = [fit({str(place): np.array([value]) for place, value in enumerate(row)}, {}).values[0] for row in fitted]
    assert whole.tolist() == alone


def test_values_at_the_end_of_the_floats_have_an_error() -> None:
    columns = {"a": np.array([1e308, -1e308]), "b": np.array([-1e308, 1e308]), "c": np.zeros(2)}
    fit = Reconstruction.fit([(str(name), column, ()) for name, column in zip("abc", rows_of(100, 3).T, strict=True)])
    assert fit is not None
    assert np.isfinite(fit(columns, {}).values).all()


# ---------------------------------------------------------------- vectors
def test_distances_and_components_are_those_of_numpy_and_scikit_learn() -> None:
    fitted, rows = rows_of(300, 16), rows_of(50, 16, seed=1)
    distances, *components = (
        column.values for column in Space.fit(Feature("e", kind="vector", width=16), fitted, components=3)(rows)
    )
    gaps = np.linalg.norm(fitted - fitted.mean(axis=0), axis=1)
    scale = math.sqrt((gaps**2).mean())
    np.testing.assert_allclose(distances, np.linalg.norm(rows - fitted.mean(axis=0), axis=1) / scale, rtol=0, atol=2e-9)
    wanted = PCA(3, svd_solver="full").fit(fitted).transform(rows) / scale
    np.testing.assert_allclose(np.abs(components), np.abs(wanted.T), rtol=0, atol=2e-9)


def test_the_distances_of_the_fitted_rows_have_root_mean_square_1() -> None:
    fitted = rows_of(200, 5)
    values = Space.fit(Feature("e", kind="vector", width=5), fitted, components=0)(fitted)[0].values
    assert np.sqrt(np.mean(values**2)) == pytest.approx(1, rel=1e-9)


class Hostile:
    """An array only in name."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise ValueError("not today")


class Unread(list[Any]):
    """As long as no vector is, and not to be read."""

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Any:
        raise AssertionError


def test_a_list_longer_than_any_vector_is_not_read() -> None:
    """A row of a caller's mistake must not keep the worker from other rows."""
    [distance, *_] = Space.fit(Feature("e", kind="vector", width=2), np.eye(2), components=1)([[1.0, 2.0], Unread([1.0])])
    assert distance.invalid == {"format": 1}


def test_what_is_no_vector_is_counted_by_reason() -> None:
    values: list[Any] = [
        *([1.0, 2.0], (3, 4), np.array([5, 6], dtype=np.int8), Tensor(np.array([7.0, 8.0])), [np.float32(9), True]),
        *(None, math.nan),
        *("12", b"12", 5.0, {"a": 1, "b": 2}, ["1", "2"], [[1, 2], [3]], np.zeros((2, 2)), Hostile(), object(), [1j, 2]),
        *([1.0], [1.0, 2.0, 3.0], [], np.zeros(0)),
        *([1.0, math.nan], [math.inf, 1], [1, None], [10**400, 1], np.ma.array([1.0, 2.0], mask=[True, False])),
    ]
    space = Space.fit(Feature("e", kind="vector", width=2), np.array([[0.0, 0.0], [6.0, 8.0]]), components=1)
    distance, component = space(values)
    assert np.isnan(distance.values).tolist() == [False] * 5 + [True] * (len(values) - 5)
    assert (distance.missing, dict(distance.invalid)) == (2, {"type": 10, "format": 4, "infinite": 5})
    assert np.isnan(component.values).tolist() == np.isnan(distance.values).tolist()
    assert (component.missing, component.invalid) == (0, {})


@pytest.mark.parametrize("values", [[], np.zeros((0, 2)), [[3.0, 4.0]], np.array([[3, 4]]), np.array([[3.0, 4.0]], dtype="f4")])
def test_no_vector_and_one_vector(values: Any) -> None:
    space = Space.fit(Feature("e", kind="vector", width=2), np.array([[1.0, 0.0], [-1.0, 0.0]]), components=3)
    assert [column.values.tolist() for column in space(values)] == ([[5.0], [3.0]] if len(values) else [[], []])


def test_without_vectors_to_fit_there_is_no_distance() -> None:
    space = Space.fit(Feature("e", kind="vector", width=2), np.zeros((0, 2)), components=3)
    (distance,) = space([[1.0, 2.0], None, "x"])
    assert np.isnan(distance.values).all()
    assert (distance.missing, dict(distance.invalid)) == (1, {"type": 1})


def test_wide_vectors_are_sampled_and_the_others_not_missed() -> None:
    rows: list[Any] = [*np.ones((1_024, 4_096), dtype=np.float32)]
    rows[::2] = [None] * 512
    space = Space("e", 4_096, (0.0,) * 4_096)
    distance, *_ = space(rows, sampled=True)
    present = int((~np.isnan(distance.values)).sum())
    assert present + distance.missing == 64  # 262,144 numbers
    assert 16 < present < 48
    assert (~np.isnan(space(rows)[0].values)).sum() == 512


# ---------------------------------------------------------------- texts
@pytest.mark.parametrize(
    ("text", "measures"),
    [
        ("Late again!", (2, 0, 0, 0)),
        ("late, LATE; never", (3, 0, 1 / 3, 0)),
        ("spät", (1, 1 / 4, 1, 0)),
        ("STRASSE straße", (2, 1 / 14, 1, 0)),
        ("", (0, math.nan, math.nan, 1)),
        (" \n\t", (0, 0, math.nan, 1)),
        ("?!", (0, 0, math.nan, 0)),
        ("late \ud800", (1, 1 / 6, 0, 0)),
        ("late " * 2_000, (820, 0, 1 / 820, 0)),  # 4,096 characters: the last word is cut
    ],
)
def test_measures_of_a_text(text: str, measures: tuple[float, ...]) -> None:
    found = Vocabulary.fit("t", ["late again", "the plane is Late"])([text])
    np.testing.assert_equal([column.values[0] for column in found], measures)


def test_what_is_no_valid_text_has_no_measures() -> None:
    found = Vocabulary.fit("t", ["late"])(["late", 5, None], valid=np.array([True, False, False]))
    assert np.isnan([column.values for column in found]).tolist() == [[False, True, True]] * 4


def test_a_vocabulary_is_the_most_frequent_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_mlmon.derivation.words.WORDS", 2)
    words = Vocabulary.fit("t", ["a b b c c c"])
    assert [column.values[0] for column in words(["a b c"])][2] == pytest.approx(1 / 3)
    assert words(["b c"])[2].values[0] == 0


def test_long_texts_are_sampled() -> None:
    texts = ["word " * 1_000] * 1_000
    found = Vocabulary.fit("t", texts[:1])(texts, sampled=True)
    assert 50 < (~np.isnan(found[0].values)).sum() < 70  # 262,144 of 4,096,000 characters
