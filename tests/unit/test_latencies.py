"""Latencies as counts: quantiles, sums and mixtures are those of the puts themselves."""

import numpy as np
import pytest

from tests.bench.latencies import BIN_RATIO, LONGEST_SECONDS, Latencies, mixed, total_of


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.99, 0.999])
def test_a_quantile_is_that_of_the_puts_within_a_bin(quantile: float) -> None:
    """Over four decades."""
    puts = np.random.default_rng(1).lognormal(-8.0, 2.0, 200_000)
    assert Latencies.of(puts).quantile(quantile) == pytest.approx(
        float(np.quantile(puts, quantile)), rel=BIN_RATIO - 1
    )


def test_puts_out_of_range_are_counted_at_its_ends() -> None:
    """None is lost: a put of an hour is a put."""
    found = Latencies.of(np.array([0.0, 1e-9, 3600.0]))
    assert found.total == 3
    assert found.quantile(1.0) == pytest.approx(LONGEST_SECONDS, rel=0.01)


def test_rounds_add_up_put_by_put() -> None:
    """Twice as many puts count twice."""
    puts = np.random.default_rng(2).lognormal(-8.0, 1.0, 30_000)
    halves = [Latencies.of(puts[:10_000]), Latencies.of(puts[10_000:])]
    assert total_of(halves).counts.tolist() == Latencies.of(puts).counts.tolist()


def test_a_mixture_without_probes_has_the_ordinary_quantiles() -> None:
    """Probes that never run cost nothing."""
    ordinary = Latencies.of(np.arange(1.0, 101.0))
    found = mixed(ordinary, Latencies.of(np.array([900.0])), 0.0)
    assert found.quantile(0.99) == ordinary.quantile(0.99)


def test_a_rare_probe_moves_a_quantile_by_its_share() -> None:
    """Half a percent of slow puts makes the 99th what the 99.5th of the others was."""
    ordinary = Latencies.of(np.arange(0.1, 100.1, 0.1))
    found = mixed(ordinary, Latencies.of(np.full(10, 900.0)), 0.005)
    assert found.quantile(0.99) == pytest.approx(99.5, rel=0.002)


def test_the_samples_sizes_do_not_weigh() -> None:
    """Five probes were measured; that says nothing of how often one runs."""
    ordinary = Latencies.of(np.arange(0.1, 100.1, 0.1))
    few, many = (mixed(ordinary, Latencies.of(np.full(n, 900.0)), 0.005) for n in (10, 100_000))
    assert few.quantile(0.99) == many.quantile(0.99)


def test_nothing_has_no_quantile_and_cannot_be_mixed_in() -> None:
    """An empty window says nothing."""
    nothing = Latencies.of(np.array([]))
    with pytest.raises(ValueError, match="no quantile"):
        nothing.quantile(0.5)
    with pytest.raises(ValueError, match="no distribution"):
        mixed(Latencies.of(np.array([1.0])), nothing, 0.5)
