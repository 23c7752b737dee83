"""Every parser against what fuzzing has found, real inputs, and damage of a few hundred kinds."""

import importlib.util
from pathlib import Path

import pytest

from tests.fuzz.long_run import fuzz
from tests.fuzz.mutation import mutations
from tests.fuzz.targets import TARGETS, Target

FOUND = [(target, path) for target in TARGETS.values() for path in target.found()]
DAMAGED_COPIES = 300
GUIDED_RUNS = 500

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.mark.parametrize(
    ("target", "path"), FOUND, ids=[f"{target.name}-{path.name}" for target, path in FOUND]
)
def test_what_fuzzing_found_is_mended(target: Target, path: Path) -> None:
    """Each of these inputs once broke the parser's contract."""
    assert path.stat().st_size <= 1 << 16, "test data stays small"
    target.run(path.read_bytes())


@every_target
def test_real_inputs_keep_the_contract(target: Target) -> None:
    """A target that rejects the inputs it starts from tests nothing."""
    seeds = list(target.seeds())
    for seed in seeds:
        target.run(seed)
    assert seeds


@every_target
def test_damaged_inputs_keep_the_contract(target: Target) -> None:
    """Bits flipped, parts cut, doubled, moved and mixed: the same ones in every run."""
    tried = 0
    for data in mutations(list(target.seeds()), target.words, DAMAGED_COPIES):
        target.run(data)
        tried += 1
    assert tried == DAMAGED_COPIES


@pytest.mark.slow
@every_target
def test_a_short_guided_run_finds_nothing(target: Target, tmp_path: Path) -> None:
    """The long one is tests/fuzz/run."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (it has no wheel for this Python)")
    outcome = fuzz(target, tmp_path / "grown", None, GUIDED_RUNS, found=tmp_path / "found")
    assert outcome.found == [], outcome.output[-2000:].decode("utf-8", "replace")
    assert outcome.executions >= GUIDED_RUNS
