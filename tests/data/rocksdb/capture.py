#!/usr/bin/env python3
# ruff: noqa
# mypy: ignore-errors
"""Make the databases of this directory and copy their files while they are open.

    capture.py load --lib rocksdict --out v9.8.4 --how 'PyPI rocksdict 0.3.29'    the general load
    capture.py CASE                                                             a special case

The library is an installed `rocksdict`, or with --lib PATH a shared library with RocksDB's C interface
(Debian's librocksdb.so.7.8 by default for the special cases). Databases are made below /srv/rocksdb.
"""

import argparse
import ctypes as C
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = "/srv/rocksdb"
DEBIAN = "/usr/lib/x86_64-linux-gnu/librocksdb.so.7.8"
KEY = 16  # bytes in a key: k and 15 digits


def opts(text):
    return dict(kv.split("=", 1) for kv in text.replace("\n", ";").split(";") if kv.strip())


def key(n):
    return b"k%015d" % n


def op_stream(first, n, space, vsize, delete_every):
    """(key, value or None) of operation numbers first .. first+n-1; space 0: ascending keys."""
    for i in range(first, first + n):
        k = key(i * 2654435761 % 2**64 % space if space else i)
        if delete_every and i % delete_every == delete_every - 1:
            yield k, None
        else:
            yield k, (b"%015d," % i * (vsize // 16 + 1))[:vsize]


class CApi:
    """RocksDB through its C interface."""

    def __init__(self, path, db_options, families, lib=DEBIAN, no_wal=False):
        L = self.L = C.CDLL(lib)
        P, S, U = C.c_void_p, C.c_char_p, C.c_size_t
        self.err = S()
        E = C.POINTER(S)
        for name, res, args in [
            ("options_create", P, []),
            ("get_options_from_string", None, [P, S, P, E]),
            ("open_column_families", P, [P, S, C.c_int, P, P, P, E]),
            ("close", None, [P]),
            ("writeoptions_create", P, []),
            ("writeoptions_disable_WAL", None, [P, C.c_int]),
            ("writebatch_create", P, []),
            ("writebatch_clear", None, [P]),
            ("writebatch_put_cf", None, [P, P, S, U, S, U]),
            ("writebatch_delete_cf", None, [P, P, S, U]),
            ("write", None, [P, P, P, E]),
            ("get_latest_sequence_number", C.c_uint64, [P]),
            ("property_value_cf", S, [P, P, S]),
            ("flushoptions_create", P, []),
            ("flush_cf", None, [P, P, P, E]),
            ("compact_range_cf", None, [P, P, S, U, S, U]),
            ("livefiles", P, [P]),
            ("livefiles_count", C.c_int, [P]),
            ("livefiles_name", S, [P, C.c_int]),
            ("livefiles_level", C.c_int, [P, C.c_int]),
            ("livefiles_size", U, [P, C.c_int]),
            ("livefiles_column_family_name", S, [P, C.c_int]),
            ("livefiles_entries", C.c_uint64, [P, C.c_int]),
            ("livefiles_deletions", C.c_uint64, [P, C.c_int]),
            ("drop_column_family", None, [P, P, E]),
            ("column_family_handle_destroy", None, [P]),
            ("envoptions_create", P, []),
            ("sstfilewriter_create", P, [P, P]),
            ("sstfilewriter_open", None, [P, S, E]),
            ("sstfilewriter_put", None, [P, S, U, S, U, E]),
            ("sstfilewriter_finish", None, [P, E]),
            ("ingestexternalfileoptions_create", P, []),
            ("ingest_external_file_cf", None, [P, P, P, U, P, E]),
        ]:
            f = getattr(L, "rocksdb_" + name)
            f.restype, f.argtypes = res, args
        self.families = list(families)
        self.opts = []
        for text in families.values():
            o, base = L.rocksdb_options_create(), L.rocksdb_options_create()
            text = "create_if_missing=true;create_missing_column_families=true;" + ";".join(
                f"{k}={v}" for k, v in (opts(db_options) | opts(text)).items()
            )
            L.rocksdb_get_options_from_string(base, text.encode(), o, C.byref(self.err))
            self.check()
            self.opts.append(o)
        n = len(families)
        self.cf = (P * n)()
        self.db = L.rocksdb_open_column_families(
            self.opts[0],
            path.encode(),
            n,
            (S * n)(*[f.encode() for f in families]),
            (P * n)(*self.opts),
            self.cf,
            C.byref(self.err),
        )
        self.check()
        self.wo = L.rocksdb_writeoptions_create()
        L.rocksdb_writeoptions_disable_WAL(self.wo, no_wal)
        self.wb = L.rocksdb_writebatch_create()

    def check(self):
        if self.err.value:
            text, self.err.value = self.err.value.decode(), None
            raise OSError(text)

    def write(self, cf, first, n, space, vsize, batch=1, delete_every=0):
        L, h, held = self.L, self.cf[cf], 0
        for k, v in op_stream(first, n, space, vsize, delete_every):
            if v is None:
                L.rocksdb_writebatch_delete_cf(self.wb, h, k, len(k))
            else:
                L.rocksdb_writebatch_put_cf(self.wb, h, k, len(k), v, len(v))
            held += 1
            if held == batch:
                self._write()
                held = 0
        if held:
            self._write()

    def _write(self):
        self.L.rocksdb_write(self.db, self.wo, self.wb, C.byref(self.err))
        self.L.rocksdb_writebatch_clear(self.wb)
        self.check()

    def seq(self):
        return self.L.rocksdb_get_latest_sequence_number(self.db)

    def prop(self, cf, name):
        v = self.L.rocksdb_property_value_cf(self.db, self.cf[cf], name.encode())
        return None if v is None else v.decode()

    def flush(self, cf):
        self.L.rocksdb_flush_cf(
            self.db, self.L.rocksdb_flushoptions_create(), self.cf[cf], C.byref(self.err)
        )
        self.check()

    def compact(self, cf):
        self.L.rocksdb_compact_range_cf(self.db, self.cf[cf], None, 0, None, 0)

    def drop(self, cf):
        self.L.rocksdb_drop_column_family(self.db, self.cf[cf], C.byref(self.err))
        self.check()
        self.L.rocksdb_column_family_handle_destroy(self.cf[cf])
        self.families[cf] = self.cf[cf] = None

    def ingest(self, cf, path, first, n, vsize):
        L, e = self.L, C.byref(self.err)
        w = L.rocksdb_sstfilewriter_create(L.rocksdb_envoptions_create(), self.opts[cf])
        L.rocksdb_sstfilewriter_open(w, path.encode(), e)
        for k, v in op_stream(first, n, 0, vsize, 0):
            L.rocksdb_sstfilewriter_put(w, k, len(k), v, len(v), e)
        L.rocksdb_sstfilewriter_finish(w, e)
        self.check()
        L.rocksdb_ingest_external_file_cf(
            self.db,
            self.cf[cf],
            (C.c_char_p * 1)(path.encode()),
            1,
            L.rocksdb_ingestexternalfileoptions_create(),
            e,
        )
        self.check()

    def live(self):
        L, f = self.L, self.L.rocksdb_livefiles(self.db)
        return [
            dict(
                cf=L.rocksdb_livefiles_column_family_name(f, i).decode(),
                level=L.rocksdb_livefiles_level(f, i),
                number=int(L.rocksdb_livefiles_name(f, i).decode().strip("/").split(".")[0]),
                size=L.rocksdb_livefiles_size(f, i),
                entries=L.rocksdb_livefiles_entries(f, i),
                deletions=L.rocksdb_livefiles_deletions(f, i),
            )
            for i in range(L.rocksdb_livefiles_count(f))
        ]

    def close(self):
        for h in self.cf:
            if h is not None:
                self.L.rocksdb_column_family_handle_destroy(h)
        self.L.rocksdb_close(self.db)


class Rocksdict:
    """RocksDB through rocksdict."""

    def __init__(self, path, db_options, families, no_wal=False):
        import rocksdict as r

        self.r, self.families = r, list(families)

        def options(text):
            o = r.Options(raw_mode=True)
            o.create_if_missing(True)
            o.create_missing_column_families(True)
            for k, v in (opts(db_options) | opts(text)).items():
                if k == "compression":
                    o.set_compression_type(r.DBCompressionType.none())
                elif k == "rate_limiter_bytes_per_sec":
                    o.set_ratelimiter(int(v), 100000, 10)
                else:
                    v = {"true": True, "false": False}.get(v, int(v) if v.isdigit() else v)
                    k = k.replace("level0_", "level_zero_")
                    setter = getattr(o, "set_" + k, None)
                    if setter:
                        setter(float(v) if k == "max_bytes_for_level_multiplier" else v)
            return o

        self.db = r.Rdict(
            path,
            options(families["default"]),
            {n: options(t) for n, t in families.items() if n != "default"},
        )
        self.h = [self.db if n == "default" else self.db.get_column_family(n) for n in families]
        self.cfh = [self.db.get_column_family_handle(n) for n in families]

    def write(self, cf, first, n, space, vsize, batch=1, delete_every=0):
        wb, held = None, 0
        for k, v in op_stream(first, n, space, vsize, delete_every):
            wb = wb or self.r.WriteBatch(raw_mode=True)
            if v is None:
                wb.delete(k, self.cfh[cf])
            else:
                wb.put(k, v, self.cfh[cf])
            held += 1
            if held == batch:
                self.db.write(wb)
                wb, held = None, 0
        if held:
            self.db.write(wb)

    def seq(self):
        return self.db.latest_sequence_number()

    def prop(self, cf, name):
        return self.h[cf].property_value(name)

    def flush(self, cf):
        self.h[cf].flush()

    def live(self):
        family = {
            int(m[1]): name
            for cf, name in enumerate(self.families)  # live_files does not name it
            for m in re.finditer(r"^ (\d+):", self.prop(cf, "rocksdb.sstables"), re.M)
        }
        found = {}
        for f in self.db.live_files():
            number = int(f["name"].strip("/").split(".")[0])
            found[number] = dict(
                cf=family[number],
                level=f["level"],
                number=number,
                size=f["size"],
                entries=f["num_entries"],
                deletions=f["num_deletions"],
            )
        return list(found.values())

    def close(self):
        self.db.close()


# ---- the general load -------------------------------------------------------------------------------------------

DB = (
    "max_background_jobs=2;stats_dump_period_sec=2;rate_limiter_bytes_per_sec=2097152;"
    "delayed_write_rate=2097152"
)
CF = (
    "write_buffer_size=131072;max_write_buffer_number=6;level0_file_num_compaction_trigger=2;"
    "level0_slowdown_writes_trigger=4;level0_stop_writes_trigger=6;target_file_size_base=262144;"
    "max_bytes_for_level_base=524288;max_bytes_for_level_multiplier=4;compression=kNoCompression;"
    "soft_pending_compaction_bytes_limit=1200000;hard_pending_compaction_bytes_limit=1800000;"
    "level_compaction_dynamic_level_bytes=false"
)
SECOND = CF + ";max_write_buffer_number=3"
VSIZE = 400


class Load:
    """Writes, and keeps the truth: operations per family and (time, operations) samples."""

    def __init__(self, db):
        self.db, self.at, self.samples = db, [0] * len(db.families), []
        self.counts = {f: {"puts": 0, "deletes": 0} for f in db.families}
        self.sizes = {f: {} for f in db.families}
        self.sample()

    def sample(self, apart=0.1):
        now = time.time_ns() // 1000
        if not self.samples or now - self.samples[-1][0] >= apart * 1e6:
            self.samples.append([now, sum(self.at)])

    def write(self, cf, n, space=0, vsize=VSIZE, batch=1, delete_every=0, chunk=100):
        name = self.db.families[cf]
        for _ in range(0, n, chunk):
            m, first = min(chunk, n), self.at[cf]
            n -= m
            self.db.write(cf, first, m, space, vsize, batch, delete_every)
            d = sum(
                1
                for i in range(first, first + m)
                if delete_every and i % delete_every == delete_every - 1
            )
            self.counts[name]["deletes"] += d
            self.counts[name]["puts"] += m - d
            self.sizes[name][str(vsize)] = self.sizes[name].get(str(vsize), 0) + m - d
            self.at[cf] += m
            self.sample()

    def wait_for_flush(self):
        for _ in range(100):
            if self.db.prop(0, "rocksdb.num-immutable-mem-table") == "0":
                break
            time.sleep(0.01)

    def until_error(self, n, **kw):
        """Write up to n operations; the error that ended it, or None. A failed operation is not counted."""
        for _ in range(n):
            try:
                self.write(0, 1, **kw)
            except OSError as e:
                return str(e)

    def general(self):
        for _ in range(9):  # as fast as flushes go, which is faster than compactions: level-0 files
            self.write(0, 320, space=6000, delete_every=7)
            self.wait_for_flush()
        settle(self.db)
        for _ in range(
            4
        ):  # faster than flushes: immutable memtables, then pending compaction bytes
            self.write(1, 600, batch=10)
            self.write(0, 1000, space=6000, delete_every=7)
        settle(self.db)
        self.db.flush(0)
        self.db.flush(1)
        settle(self.db)
        # a small tail that stays in the WAL
        self.write(0, 50, space=6000, delete_every=7)
        self.write(1, 50, batch=10)
        settle(self.db)
        time.sleep(1.2)
        self.sample(0)


def settle(db, limit=30):
    """Wait until no flush and no compaction is wanted or running."""
    names = [
        "rocksdb.mem-table-flush-pending",
        "rocksdb.compaction-pending",
        "rocksdb.num-running-flushes",
        "rocksdb.num-running-compactions",
        "rocksdb.num-immutable-mem-table",
    ]
    end, calm = time.time() + limit, 0
    while calm < 4 and time.time() < end:
        busy = any(
            db.prop(i, p) not in ("0", None)
            for i in range(len(db.families))
            for p in names
            if db.families[i] is not None
        )
        calm = 0 if busy else calm + 1
        time.sleep(0.1)
    return calm >= 4


def snapshot(load, path, out, how, extra=(), wal=True, **more):
    """Copy the files of the open, quiet database and write truth.json beside them."""
    db = load.db
    os.makedirs(out, exist_ok=True)
    seq, live = db.seq(), db.live()
    newest = lambda pattern: max(
        glob.glob(f"{path}/{pattern}"),
        default=None,
        key=lambda p: int("".join(c for c in os.path.basename(p) if c.isdigit())),
    )
    wanted = [
        f"{path}/CURRENT",
        f"{path}/IDENTITY",
        newest("OPTIONS-*"),
        path + "/" + open(f"{path}/CURRENT").read().strip(),
        *glob.glob(f"{path}/LOG*"),
        *extra,
    ]
    if wal:
        wanted.append(newest("*.log"))
    for p in wanted:
        if p and os.path.exists(p):
            shutil.copyfile(p, f"{out}/{os.path.basename(p)}")
    assert (seq, live) == (db.seq(), db.live()), "not quiet"
    logs = [p for p in wanted if p and os.path.basename(p).endswith("LOG")]
    version = open(logs[0]).readline().split("RocksDB version: ")[1].strip() if logs else None
    levels = {f: {} for f in db.families if f is not None}
    for f in live:
        one = levels.setdefault(f["cf"], {}).setdefault(str(f["level"]), {"files": 0, "bytes": 0})
        one["files"] += 1
        one["bytes"] += f["size"]
    props = {}
    for i, f in enumerate(db.families):
        if f is not None:
            props[f] = {
                p: v
                for p in [
                    "rocksdb.levelstats",
                    "rocksdb.estimate-pending-compaction-bytes",
                    "rocksdb.total-sst-files-size",
                    "rocksdb.actual-delayed-write-rate",
                    "rocksdb.is-write-stopped",
                    "rocksdb.num-entries-active-mem-table",
                    "rocksdb.num-immutable-mem-table",
                    "rocksdb.background-errors",
                    "rocksdb.estimate-num-keys",
                    "rocksdb.base-level",
                ]
                if (v := db.prop(i, p)) is not None
            }
    truth = dict(
        rocksdb_version=version,
        how=how,
        database_path=path,
        key_size=KEY,
        value_sizes={f: s for f, s in load.sizes.items() if s},
        operations=load.counts,
        operations_total=sum(load.at),
        latest_sequence_number=seq,
        column_families=[f for f in db.families if f is not None],
        levels=levels,
        live_files=sorted(live, key=lambda f: f["number"]),
        properties=props,
        wals={os.path.basename(p): os.path.getsize(p) for p in sorted(glob.glob(f"{path}/*.log"))},
        utc_offset_seconds=time.localtime().tm_gmtoff,
        captured_micros=time.time_ns() // 1000,
        samples=load.samples,
        **more,
    )
    text = json.dumps(truth, indent=1)
    with open(f"{out}/truth.json", "w") as f:
        f.write(compact_lists(text) + "\n")


def compact_lists(text):
    """One line for each innermost list or object, to keep truth.json readable."""
    return re.sub(
        r'([\[{])\s*([^\[\]{}"]*?|(?:"[^"]*": (?:"[^"\\]*"|[\w.-]+),?\s*)*)\s*([\]}])',
        lambda m: m[1] + re.sub(r"\s*\n\s*", " ", m[2]) + m[3],
        text,
    )


def elsewhere(do, log=None, words=None):
    """Run it in a process of its own to its end, or kill that once its LOG has these words."""
    child = os.fork()
    if not child:
        try:
            do()
        finally:
            os._exit(0)
    while words and words not in open(log).read():
        time.sleep(0.02)
    if words:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def fresh(name):
    path = f"{ROOT}/{name}/db"
    shutil.rmtree(f"{ROOT}/{name}", ignore_errors=True)
    os.makedirs(path)
    return path


# ---- the special cases ------------------------------------------------------------------------------------------

QUIET = "max_background_jobs=2;stats_dump_period_sec=0"
SMALL = (
    "write_buffer_size=131072;level0_file_num_compaction_trigger=4;target_file_size_base=262144;"
    "max_bytes_for_level_base=524288;compression=kNoCompression;level_compaction_dynamic_level_bytes=false"
)


class Case:
    """One method for each case; `self.open` makes or opens a database below ROOT/<case>."""

    def __init__(self, name, lib, out, how):
        self.name, self.lib, self.out, self.how = name, lib, out, how
        self.path = fresh(name)
        shutil.rmtree(out, ignore_errors=True)

    def open(self, db_options="", families=None, path=None, **kw):
        self.db_options, self.fam = QUIET + ";" + db_options, families or {"default": SMALL}
        make = self.lib if callable(self.lib) else lambda *a, **k: CApi(*a, lib=self.lib, **k)
        return Load(make(path or self.path, self.db_options, self.fam, **kw))

    def save(self, load, sub="", extra=(), **more):
        snapshot(
            load,
            more.pop("path", self.path),
            os.path.join(self.out, sub),
            self.how,
            extra,
            options={
                "db": opts(self.db_options),
                "families": {f: opts(t) for f, t in self.fam.items()},
            },
            **more,
        )

    def load(self):
        families = {"default": CF, "second": SECOND}
        load = self.open(DB, families)
        load.general()
        self.save(load)
        load.db.close()

    def simple(self, db_options="", families=None, n=3000, tail=40, **kw):
        load = self.open(db_options, families, **kw)
        load.write(0, n, space=2000, delete_every=11)
        settle(load.db)
        load.write(0, tail, space=2000, delete_every=11)
        self.save(load)
        load.db.close()

    def wal_recycled(self):
        # with the default recovery mode RocksDB 7.8 sets recycle_log_file_num to 0
        self.simple("recycle_log_file_num=2;wal_recovery_mode=kSkipAnyCorruptedRecords", n=2930)

    def wal_compressed(self):
        self.simple("wal_compression=kZSTD", n=2000)

    def wal_disabled(self):
        self.simple(no_wal=True)

    def universal(self):
        self.simple(
            families={
                "default": SMALL + ";compaction_style=kCompactionStyleUniversal;num_levels=4"
            },
            n=6000,
        )

    def fifo(self):
        self.simple(
            families={
                "default": SMALL + ";compaction_style=kCompactionStyleFIFO;"
                "compaction_options_fifo={max_table_files_size=600000}"
            },
            n=5000,
        )

    def wal_large_records(self):
        load = self.open(families={"default": SMALL + ";write_buffer_size=8388608"})
        load.write(0, 20, vsize=100)
        load.write(0, 1, vsize=100000)
        load.write(0, 500, vsize=40, batch=500, chunk=500)
        load.write(0, 1, vsize=100000)
        self.save(load, "large_last")  # the last record is one put of 100 kB
        load.write(0, 500, vsize=60, batch=500, chunk=500)
        self.save(load, "batch_last")  # the last record is a batch of 500
        load.db.close()

    def db_log_dir(self):
        logs = f"{ROOT}/{self.name}/log"
        os.makedirs(logs)
        load = self.open(f"db_log_dir={logs}")
        load.write(0, 1500, space=2000)
        settle(load.db)
        self.save(load, extra=glob.glob(f"{logs}/*LOG"), db_log_dir=logs)
        load.db.close()

    def reopened(self):
        at = 0
        for i in range(3):
            load = self.open()
            load.at[0] = at
            load.write(0, 700 + 100 * i, space=2000)
            at = load.at[0]
            settle(load.db)
            if i == 2:
                self.save(
                    load,
                    note="operations counts the third opening only, operations_total all three",
                )
            load.db.close()

    def attempted(self):
        """Somebody else tries to open it, in vain: that renames the LOG in which the owner goes on."""
        load = self.open()
        load.write(0, 700, space=2000)
        settle(load.db)
        elsewhere(self.try_to_open)
        attempted = time.time_ns() // 1000
        load.write(0, 700, space=2000)
        settle(load.db)
        time.sleep(6)  # a line that comes 5 s after the last flush of the LOG's buffer flushes it
        load.write(0, 700, space=2000)
        settle(load.db)
        self.save(load, attempted_micros=attempted)
        load.db.close()

    def try_to_open(self):
        try:
            self.open()
        except OSError as error:
            assert "lock" in str(error), error

    def recovery(self):
        """A writer is killed, an opening is killed in its recovery, and another comes through."""
        n, slowly = 20000, "rate_limiter_bytes_per_sec=2097152"

        def write():
            self.open(families={"default": SMALL + ";write_buffer_size=67108864"}).write(0, n)
            os.kill(os.getpid(), signal.SIGKILL)

        elsewhere(write)
        begun = time.time_ns() // 1000
        elsewhere(lambda: self.open(slowly), f"{self.path}/LOG", "recovery_started")
        killed = time.time_ns() // 1000
        load = self.open(slowly)
        recovered = time.time_ns() // 1000
        load.at[0] = n
        settle(load.db)
        self.save(
            load,
            killed_opening_micros=[begun, killed],
            opening_micros=[killed, recovered],
            note="the writes were made before the two openings, and none after them",
        )
        load.db.close()

    def multi_cf(self):
        load = self.open(
            families={
                "default": SMALL,
                "wide": SMALL + ";write_buffer_size=65536;num_levels=4",
                "gone": SMALL,
                "small": SMALL + ";write_buffer_size=1048576",
            }
        )
        for cf, n, vsize in (0, 1500, 400), (1, 200, 3000), (2, 600, 400), (3, 2000, 20):
            load.write(cf, n, vsize=vsize, batch=5, delete_every=9 if cf == 3 else 0)
        settle(load.db)
        load.db.drop(2)
        load.write(1, 10, vsize=3000)
        load.write(3, 30, vsize=20)
        self.save(load, dropped=["gone"])
        load.db.close()

    def ingest_manual(self):
        load = self.open()
        load.write(0, 2000, space=2000, delete_every=5)
        settle(load.db)
        before = load.db.seq()
        load.db.ingest(0, f"{ROOT}/{self.name}/outside.sst", 1500, 1000, 100)
        after = load.db.seq()
        load.db.compact(0)
        load.write(0, 25, space=2000)
        self.save(
            load, ingested_keys=1000, sequence_before_ingest=before, sequence_after_ingest=after
        )
        load.db.close()

    def full_disk(self, db_options, extra=()):
        fs = f"{ROOT}/{self.name}/fs"
        os.makedirs(fs)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", fs], check=True)
        try:
            with open(f"{fs}/ballast", "wb") as f:
                f.write(bytes(1 << 20))
            path = f"{fs}/db"
            load = self.open(db_options, path=path)
            error = load.until_error(20000, vsize=400, space=50000)
            failed = time.time_ns() // 1000
            time.sleep(1)
            self.save(
                load,
                "during",
                extra(),
                path=path,
                error=error,
                error_micros=failed,
                error_while_stopped=load.until_error(1, vsize=400, space=50000),
            )
            os.unlink(f"{fs}/ballast")
            freed, first = time.time_ns() // 1000, load.until_error(1, vsize=400, space=50000)
            end = time.time() + 40
            while first and load.until_error(1, vsize=400, space=50000) and time.time() < end:
                time.sleep(0.2)
            writable = time.time_ns() // 1000
            ended = time.time() < end
            load.until_error(300, vsize=400, space=50000)
            settle(load.db, 5)
            self.save(
                load,
                "recovered",
                extra(),
                path=path,
                freed_micros=freed,
                writable_micros=writable,
                recovered_by_itself=ended,
            )
            load.db.close()
        finally:
            subprocess.run(["umount", "-l", fs], check=True)

    def background_error(self):
        """Only the table files are on the full file system: LOG and WAL are elsewhere, so nothing of them is lost."""
        side = f"{ROOT}/{self.name}/side"
        os.makedirs(side)
        self.full_disk(f"db_log_dir={side};wal_dir={side}", lambda: glob.glob(f"{side}/*LOG"))

    def background_error_wal(self):
        """All of the database is on the full file system."""
        self.full_disk("", lambda: [])


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument(
        "case", help="load, or " + ", ".join(n for n in vars(Case) if not n.startswith("_"))
    )
    ap.add_argument(
        "--lib", default=DEBIAN, help='shared library with the C interface, or "rocksdict"'
    )
    ap.add_argument("--out", help="directory below this one; default: the name of the case")
    ap.add_argument("--how", default="Debian librocksdb7.8 7.8.3-2 through its C interface")
    a = ap.parse_args()
    out = os.path.join(HERE, a.out or a.case)
    getattr(
        Case(a.out or a.case, Rocksdict if a.lib == "rocksdict" else a.lib, out, a.how), a.case
    )()


if __name__ == "__main__":
    main()
