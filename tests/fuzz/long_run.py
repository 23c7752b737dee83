"""The long run: one child of libFuzzer per target, one after another, and a table at the end."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.directory import PREFIX, in_memory
from tests.fuzz.targets import CORPUS, TARGETS, Target

ROOT = Path(__file__).parents[2]
GROWN = ROOT / ".cache" / "fuzz"
"""The corpus that coverage has made: a long run goes on where the last one ended."""

SLOW_UNIT_SECONDS = 10
"""An input that takes longer counts as a hang."""

MEMORY_MIB = 1024
MAX_INPUT_BYTES = 2048
"""Small inputs are tried ten times as often; --max-bytes asks for others."""

_DONE = re.compile(rb"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_EXECUTIONS = re.compile(rb"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_PROGRESS = re.compile(rb"^#(\d+)\t", re.MULTILINE)
_COVERAGE = re.compile(rb" cov: (\d+) ft: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """What one target's run came to."""

    target: str
    executions: int
    seconds: float
    coverage: int
    found: list[Path]
    output: bytes


def main(arguments: list[str] | None = None) -> int:
    """Run; 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="tests/fuzz/run")
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, help="per target; 60 where nothing is said")
    parser.add_argument("--runs", type=int, help="executions per target")
    parser.add_argument("--max-bytes", type=int, default=MAX_INPUT_BYTES, help="of one input")
    parser.add_argument("--keep", type=Path, default=GROWN, help="where the corpus grows")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        parser.error(f"atheris is missing for {sys.executable}; pip install atheris (3.11 to 3.13)")
    names = list(TARGETS) if options.target == "all" else [options.target]
    seconds = 60 if options.seconds is None and options.runs is None else options.seconds
    outcomes = []
    for name in names:
        grown = options.keep / name
        outcomes.append(fuzz(TARGETS[name], grown, seconds, options.runs, options.max_bytes))
        print(_row(outcomes[-1]), flush=True)
    total = sum(outcome.executions for outcome in outcomes)
    print(f"{'total':<10} {total:>12,} executions")
    for outcome in outcomes:
        for path in outcome.found:
            print(f"{outcome.target}: {path}")
            print(outcome.output[-3000:].decode("utf-8", "replace"))
    return 1 if any(outcome.found for outcome in outcomes) else 0


def fuzz(
    target: Target,
    grown: Path,
    seconds: int | None,
    runs: int | None,
    max_bytes: int = MAX_INPUT_BYTES,
    found: Path | None = None,
) -> Outcome:
    """One target's run in a child, which libFuzzer ends by itself; ``found`` takes its finds."""
    finds = found or CORPUS / target.name
    finds.mkdir(parents=True, exist_ok=True)
    grown.mkdir(parents=True, exist_ok=True)
    before = set(finds.iterdir())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=in_memory()) as scratch:
        seeds = Path(scratch, "seeds")
        seeds.mkdir()
        for number, seed in enumerate(target.seeds()):
            (seeds / f"{number:04d}").write_bytes(seed)
        words = Path(scratch, "words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        limits = [] if seconds is None else [f"-max_total_time={seconds}"]
        limits += [] if runs is None else [f"-runs={runs}"]
        completed = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.guided", target.name),
                *(str(grown), str(seeds), str(finds)),
                *(f"-dict={words}", f"-artifact_prefix={finds}/", *limits),
                *(f"-timeout={SLOW_UNIT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"),
                *(f"-max_len={max_bytes}", "-print_final_stats=1"),
            ],
            cwd=ROOT,
            # libFuzzer ends the child without a chance to remove its files.
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": scratch},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    elapsed = time.monotonic() - started
    output = completed.stdout
    new = sorted(path for path in set(finds.iterdir()) - before if "slow-unit" not in path.name)
    if completed.returncode != 0 and not new:
        raise SystemExit(f"{target.name}: {output[-3000:].decode('utf-8', 'replace')}")
    counts = _EXECUTIONS.findall(output) or _DONE.findall(output) or _PROGRESS.findall(output)
    first = counts[-1] if counts else b"0"
    executions = int(first[0] if isinstance(first, tuple) else first)
    coverage = _COVERAGE.findall(output)
    covered = int(coverage[-1][0]) if coverage else 0
    return Outcome(target.name, executions, elapsed, covered, new, output)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _row(outcome: Outcome) -> str:
    rate = outcome.executions / max(outcome.seconds, 0.001)
    verdict = f"{len(outcome.found)} found" if outcome.found else "nothing found"
    return (
        f"{outcome.target:<10} {outcome.executions:>12,} executions {rate:>9,.0f}/s "
        f"{outcome.coverage:>6} branches  {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
