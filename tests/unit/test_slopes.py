import numpy as np
import pytest

from tests.bench.slopes import slope


def test_a_constant_count_does_not_grow() -> None:
    """Thirty minutes with twelve threads each second."""
    found = slope([float(n) for n in range(1800)], [12.0] * 1800)
    assert found is not None
    assert (found.point, found.lower, found.upper) == (0.0, 0.0, 0.0)
    assert found.zero_within_noise


def test_a_leak_under_noise_is_found() -> None:
    """A kilobyte per second below noise of a megabyte."""
    generator = np.random.default_rng(1)
    xs = [float(n) for n in range(1800)]
    ys = [60e6 + 1e3 * x + generator.normal(0.0, 1e6) for x in xs]
    found = slope(xs, ys)
    assert found is not None
    assert found.point == pytest.approx(1e3, rel=0.15)
    assert found.lower < 1e3 < found.upper
    assert not found.zero_within_noise


def test_noise_alone_is_zero_nearly_always() -> None:
    """At 95 %, few of 25 series of noise with memory may be taken for growth."""
    generator = np.random.default_rng(2)
    zero = 0
    for _ in range(25):
        level, ys = 0.0, []
        for _ in range(900):
            level = 0.8 * level + generator.normal()
            ys.append(level)
        found = slope([float(n) for n in range(900)], ys)
        assert found is not None
        zero += found.zero_within_noise
    assert zero >= 21


def test_a_few_peaks_are_no_growth() -> None:
    """A restart of the database late in the series costs files for a moment."""
    ys = [20.0] * 900
    ys[700:720] = [400.0] * 20
    found = slope([float(n) for n in range(900)], ys)
    assert found is not None
    assert found.point == 0.0


def test_too_few_samples_have_no_slope() -> None:
    """Seven points fit nearly any line."""
    assert slope([float(n) for n in range(7)], [1.0] * 7) is None


def test_each_sample_has_its_time() -> None:
    """Anything else is a mistake of the caller."""
    with pytest.raises(ValueError, match="as many"):
        slope([1.0, 2.0], [1.0])
