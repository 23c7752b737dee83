"""Which flush or compaction a simulated RocksDB starts next, and what it leaves behind."""

import math
from typing import Final

from agent.models.lsm import ModelInputs
from agent.models.lsm_tree import Run, Tree
from agent.models.lsm_universal import runs_to_merge

FEWEST_FILES_INTRA_LEVEL0: Final = 4
"""kMinFilesForIntraL0Compaction (db/compaction/compaction_picker_level.cc)."""


class Job:
    """A flush or compaction under way.

    ``left`` is the part still to be done, 1..0. ``threads`` share the work evenly.
    """

    __slots__ = (
        "cpu_seconds",
        "first_bin",
        "is_flush",
        "last_bin",
        "left",
        "memtables",
        "output_bytes",
        "output_level",
        "read_bytes",
        "runs",
        "source_level",
        "threads",
        "write_bytes",
    )

    def __init__(self, is_flush: bool, read_bytes: float, write_bytes: float, cpu: float) -> None:
        self.is_flush = is_flush
        self.read_bytes = read_bytes
        self.write_bytes = write_bytes
        self.cpu_seconds = cpu
        self.threads = 1
        self.left = 1.0
        self.memtables = 0
        self.runs: list[Run] = []
        self.source_level = self.output_level = 0
        self.first_bin = self.last_bin = 0  # half-open
        self.output_bytes: list[float] = []


class JobPicker:
    """Starts and finishes jobs on one tree.

    ``whole_merges`` counts the compactions out of level 0 into the base level, with universal
    compaction those into the last run: turns of the tree.
    """

    def __init__(self, inputs: ModelInputs, tree: Tree) -> None:
        self._tree: Final = tree
        self._options: Final = inputs.options
        self._costs: Final = inputs.costs
        self.whole_merges = 0

    def flush(self, memtables: int, user_bytes: float) -> Job:
        """One job takes all memtables that wait (MemTableList::PickMemtablesToFlush)."""
        costs = self._costs
        write_bytes = user_bytes * costs.flush_output_ratio
        job = Job(True, 0.0, write_bytes, user_bytes * costs.flush_cpu_seconds_per_byte)
        job.memtables = memtables
        return job

    def compaction(self) -> Job | None:
        """The next compaction, its inputs locked; or None."""
        return self._pick_universal() if self._tree.universal else self._pick_level()

    def finish(self, job: Job) -> None:
        """Install the outputs and release the inputs."""
        tree = self._tree
        self.whole_merges += not job.is_flush and (
            job.runs[-1] is tree.level0[-1]
            if tree.universal
            else bool(job.runs and job.output_level)
        )
        if job.is_flush:
            tree.level0.insert(0, Run(job.write_bytes))
        elif tree.universal or job.output_level == 0:
            position = tree.level0.index(job.runs[-1]) + 1
            tree.level0.insert(position, Run(job.output_bytes[0], job.output_level))
            self._remove_runs(job.runs)
            if not tree.universal:
                tree.jobs_at_level[0] -= 1
        else:
            self._finish_into_level(job)
        tree.refresh()

    def _finish_into_level(self, job: Job) -> None:
        tree = self._tree
        self._remove_runs(job.runs)
        upper, lower = job.source_level, job.output_level
        span = range(job.first_bin, job.last_bin)
        if upper:
            density, locked = tree.density[upper], tree.locked[upper]
            for part in span:
                tree.busy_bytes[upper] -= density[part]
                density[part] = 0.0
                locked[part] = False
        tree.busy_bytes[upper] = max(0.0, tree.busy_bytes[upper])
        density, locked = tree.density[lower], tree.locked[lower]
        pinned = lower == tree.last_level
        for part, output in zip(span, job.output_bytes, strict=True):
            tree.busy_bytes[lower] -= density[part]
            if not pinned:  # S_max is defined for the present size: the last level keeps it
                density[part] = output
            locked[part] = False
        tree.busy_bytes[lower] = max(0.0, tree.busy_bytes[lower])
        tree.jobs_at_level[upper] -= 1
        tree.jobs_at_level[lower] -= 1

    def _remove_runs(self, runs: list[Run]) -> None:
        gone = {id(run) for run in runs}
        self._tree.level0 = [run for run in self._tree.level0 if id(run) not in gone]

    def _compaction_job(self, read_bytes: float, write_bytes: float) -> Job:
        cpu = read_bytes * self._costs.compaction_cpu_seconds_per_byte
        return Job(False, read_bytes, write_bytes, cpu)

    def _subcompactions(self, read_bytes: float) -> int:
        """No range smaller than a table: CompactionJob::GenSubcompactionBoundaries."""
        tables = int(read_bytes / self._options.target_file_size_base)
        return max(1, min(self._options.max_subcompactions, tables))

    def _pick_level(self) -> Job | None:
        """The levels by score, while it is 1 or more.

        LevelCompactionBuilder::SetupInitialFiles (db/compaction/compaction_picker_level.cc).
        """
        skipped_level0 = False
        for score, level in self._tree.scores():
            if score < 1.0:
                return None
            if level == 0:
                job = self._pick_level0() or self._pick_intra_level0()
                skipped_level0 = job is None
            elif skipped_level0 and level == self._tree.base_level:
                continue  # or level 0 would starve
            else:
                job = self._pick_file(level)
            if job is not None:
                return job
        return None

    def _pick_level0(self) -> Job | None:
        """All of level 0 into the base level; never two jobs from level 0 (PickFileToCompact)."""
        tree = self._tree
        base = tree.base_level
        if tree.jobs_at_level[0] or tree.jobs_at_level[base]:
            return None
        runs = [run for run in tree.level0 if not run.busy]
        if not runs:
            return None
        bins, overlap = tree.bins, tree.overlap_ratio
        share = 1.0 / bins
        upper = tree.merged_runs(runs) * share
        density = tree.density[base]
        outputs = []
        read_bytes = sum(run.size for run in runs)
        write_bytes = 0.0
        for resting in density:
            met = resting * overlap
            merged = tree.merged(upper, met, share)
            read_bytes += met
            write_bytes += merged
            outputs.append(merged + resting - met)
        if overlap <= 0.0:  # tables beside each other are moved (TryPickL0TrivialMove)
            read_bytes = write_bytes = 0.0
        job = self._compaction_job(read_bytes, write_bytes)
        job.threads = self._subcompactions(read_bytes)
        job.runs, job.output_level = runs, base
        job.last_bin, job.output_bytes = bins, outputs
        for run in runs:
            run.busy = True
        tree.locked[base] = [True] * bins
        tree.busy_bytes[base] = tree.level_bytes[base]
        tree.jobs_at_level[0] += 1
        tree.jobs_at_level[base] += 1
        return job

    def _pick_intra_level0(self) -> Job | None:
        """PickIntraL0Compaction, FindIntraL0Compaction (compaction_picker.cc)."""
        tree, options = self._tree, self._options
        files = tree.level0
        if len(files) < options.level0_file_num_compaction_trigger + 2 or files[0].busy:
            return None
        total = files[0].size
        per_deleted = math.inf
        limit = 1
        while limit < len(files):
            total += files[limit].size
            if (
                files[limit].busy
                or total / limit > per_deleted
                or total > options.max_compaction_bytes
            ):
                break
            per_deleted = total / limit
            limit += 1
        if limit < FEWEST_FILES_INTRA_LEVEL0:
            return None
        runs = files[:limit]
        job = self._run_merge(runs, 0)
        tree.jobs_at_level[0] += 1
        return job

    def _pick_file(self, level: int) -> Job | None:
        """The file with the least overlap below, by kMinOverlappingRatio (db/version_set.cc)."""
        tree = self._tree
        upper, lower = tree.density[level], tree.density[level + 1]
        upper_locked, lower_locked = tree.locked[level], tree.locked[level + 1]
        best, best_ratio = -1, math.inf
        for part, size in enumerate(upper):
            if size > 0.0 and not upper_locked[part] and not lower_locked[part]:
                ratio = lower[part] / size
                if ratio < best_ratio:
                    best, best_ratio = part, ratio
        if best < 0:
            return None
        file_bytes = tree.file_bytes(level)
        share, overlap = 1.0 / tree.bins, tree.overlap_ratio
        pinned = level + 1 == tree.last_level
        moved = met_bytes = write_bytes = 0.0
        outputs = []
        end = best
        while end < tree.bins and not upper_locked[end] and not lower_locked[end]:
            if moved > 0.0 and moved + upper[end] / 2.0 > file_bytes:
                break
            met = lower[end] * overlap
            merged = tree.merged(upper[end], met, share)
            moved += upper[end]
            met_bytes += met
            write_bytes += merged
            outputs.append(merged + lower[end] - met)
            end += 1
        if met_bytes <= 0.0 and not (pinned and overlap > 0.0 and sum(lower) <= 0.0):
            job = self._compaction_job(0.0, 0.0)  # a trivial move
        else:
            job = self._compaction_job(moved + met_bytes, write_bytes)
        job.source_level, job.output_level = level, level + 1
        job.first_bin, job.last_bin, job.output_bytes = best, end, outputs
        for part in range(best, end):
            upper_locked[part] = lower_locked[part] = True
            tree.busy_bytes[level] += upper[part]
            tree.busy_bytes[level + 1] += lower[part]
        tree.jobs_at_level[level] += 1
        tree.jobs_at_level[level + 1] += 1
        return job

    def _pick_universal(self) -> Job | None:
        runs = self._tree.level0
        chosen = runs_to_merge(runs, self._options)
        if chosen is None:
            return None
        first, end = chosen
        if end == len(runs):
            output_level = self._options.num_levels - 1
        else:
            output_level = max(0, runs[end].level - 1)
        return self._run_merge(runs[first:end], output_level)

    def _run_merge(self, runs: list[Run], output_level: int) -> Job:
        tree = self._tree
        read_bytes = sum(run.size for run in runs)
        output = tree.merged_runs(runs)
        write_bytes = output
        if tree.universal and runs[-1] is tree.level0[-1] and tree.largest_run_bytes > 0:
            output = min(output, tree.largest_run_bytes)  # the size is held where it was observed
        job = self._compaction_job(read_bytes, write_bytes)
        if tree.universal and output_level > 0:
            job.threads = self._subcompactions(read_bytes)
        job.runs, job.output_level, job.output_bytes = list(runs), output_level, [output]
        for run in runs:
            run.busy = True
        return job
