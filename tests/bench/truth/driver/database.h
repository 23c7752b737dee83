// The database, and what it says about itself.
#ifndef SMAXD_DRIVER_DATABASE_H_
#define SMAXD_DRIVER_DATABASE_H_

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/metadata.h>
#include <rocksdb/options.h>
#include <rocksdb/rate_limiter.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "flags.h"
#include "json.h"
#include "key_values.h"

namespace driver {

inline void Check(const rocksdb::Status& status, const char* what) {
  if (!status.ok()) Fail(std::string(what) + ": " + status.ToString());
}

// The database with everything that belongs to its whole life.
struct Bench {
  Flags flags;
  Values values;
  std::unique_ptr<rocksdb::DB> db;
  rocksdb::WriteOptions write_options;
  std::atomic<uint64_t> next_sequential{0};

  explicit Bench(const Flags& given)
      : flags(given), values(given.value_bytes, given.compressible, given.seed) {
    rocksdb::Options options;
    rocksdb::ConfigOptions config;
    Check(rocksdb::GetOptionsFromString(config, rocksdb::Options(), flags.options, &options),
          "--options");
    options.create_if_missing = true;
    if (flags.rate_limiter_bytes > 0) {
      options.rate_limiter.reset(
          rocksdb::NewGenericRateLimiter(static_cast<int64_t>(flags.rate_limiter_bytes)));
    }
    rocksdb::DB* opened = nullptr;
    Check(rocksdb::DB::Open(options, flags.db, &opened), "open");
    db.reset(opened);
    write_options.disableWAL = flags.wal == "off";
    write_options.sync = flags.wal == "sync";
  }

  uint64_t Property(const std::string& name) const {
    std::string text;
    if (!db->GetProperty("rocksdb." + name, &text)) return 0;
    return std::strtoull(text.c_str(), nullptr, 10);
  }

  void WriteOne(Random& random) {
    if (flags.pattern == "sequential") {
      const Key key(next_sequential.fetch_add(1, std::memory_order_relaxed));
      return Put(key, random);
    }
    const Key key(random.Below(flags.keys));
    if (flags.pattern == "deletes" && random.Ratio() < flags.delete_ratio) {
      return Check(db->Delete(write_options, key.slice()), "delete");
    }
    Put(key, random);
  }

  void Put(const Key& key, Random& random) {
    Check(db->Put(write_options, key.slice(), values.At(random.Next())), "put");
  }
};

// RocksDB's own counters since the open. Stall time is what leaders of write groups spent waiting
// in DelayWrite, delays and stops together (db/db_impl/db_impl_write.cc): wall time, exact. The
// listener's OnStallConditionsChanged is no substitute: in 7.8 its calls can come out of order.
struct Counters {
  double stall_seconds = 0;
  uint64_t wal_bytes = 0, wal_syncs = 0;

  static Counters Of(const Bench& bench) {
    std::map<std::string, std::string> stats;
    Counters counters;
    if (!bench.db->GetMapProperty(rocksdb::DB::Properties::kDBStats, &stats)) return counters;
    auto number = [&](const char* name) { return std::strtoull(stats[name].c_str(), nullptr, 10); };
    counters.stall_seconds = static_cast<double>(number("db.user_write_stall_micros")) * 1e-6;
    counters.wal_bytes = number("db.wal_bytes_written");
    counters.wal_syncs = number("db.wal_syncs");
    return counters;
  }
};

// The tree's shape as a JSON array of {level, files, bytes}.
inline std::string Levels(Bench& bench) {
  rocksdb::ColumnFamilyMetaData meta;
  bench.db->GetColumnFamilyMetaData(&meta);
  std::string text;
  for (const auto& level : meta.levels) {
    if (level.files.empty()) continue;
    text += text.empty() ? "" : ", ";
    text += "{\"level\": " + std::to_string(level.level) +
            ", \"files\": " + std::to_string(level.files.size()) +
            ", \"bytes\": " + std::to_string(level.size) + "}";
  }
  return "[" + text + "]";
}

// Means over the samples since the last time they were taken.
class Sampler {
 public:
  explicit Sampler(Bench& bench) : bench_(bench) {}

  void Sample(double since_start) {
    ++samples_;
    running_compactions_ += static_cast<double>(bench_.Property("num-running-compactions"));
    running_flushes_ += static_cast<double>(bench_.Property("num-running-flushes"));
    level0_ += static_cast<double>(bench_.Property("num-files-at-level0"));
    immutables_ += static_cast<double>(bench_.Property("num-immutable-mem-table"));
    pending_ += static_cast<double>(bench_.Property("estimate-pending-compaction-bytes"));
    const bool stopped = bench_.Property("is-write-stopped") != 0;
    const bool delayed = bench_.Property("actual-delayed-write-rate") != 0;
    stopped_ += stopped;
    delayed_ += delayed;
    ++all_samples_;
    all_stopped_ += stopped;
    all_delayed_ += delayed;
    if (stopped && first_stopped_ < 0) first_stopped_ = since_start;
    if (delayed && first_delayed_ < 0) first_delayed_ = since_start;
  }

  void AddTo(Json& line) {
    const double n = std::max(1.0, samples_);
    line.Add("level0_files", level0_ / n)
        .Add("pending_bytes", pending_ / n)
        .Add("immutables", immutables_ / n)
        .Add("running_compactions", running_compactions_ / n)
        .Add("running_flushes", running_flushes_ / n)
        .Add("stopped_samples_ratio", stopped_ / n)
        .Add("delayed_samples_ratio", delayed_ / n);
    samples_ = level0_ = pending_ = immutables_ = 0;
    running_compactions_ = running_flushes_ = stopped_ = delayed_ = 0;
  }

  // Shares of the whole load's samples.
  double StoppedRatio() const { return all_stopped_ / std::max(1.0, all_samples_); }
  double DelayedRatio() const { return all_delayed_ / std::max(1.0, all_samples_); }

  // Seconds from the load's start, negative when it never happened.
  double first_stopped() const { return first_stopped_; }
  double first_delayed() const { return first_delayed_; }

 private:
  Bench& bench_;
  double samples_ = 0, level0_ = 0, pending_ = 0, immutables_ = 0;
  double running_compactions_ = 0, running_flushes_ = 0, stopped_ = 0, delayed_ = 0;
  double all_samples_ = 0, all_stopped_ = 0, all_delayed_ = 0;
  double first_stopped_ = -1, first_delayed_ = -1;
};

}  // namespace driver

#endif
