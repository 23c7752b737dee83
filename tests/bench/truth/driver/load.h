// Writer and reader threads, arrivals, progress.
#ifndef SMAXD_DRIVER_LOAD_H_
#define SMAXD_DRIVER_LOAD_H_

#include <sys/prctl.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "clock.h"
#include "database.h"
#include "json.h"

namespace driver {

using std::uint32_t;

constexpr double kSampleSeconds = 0.1;    // how often the database's properties are read
constexpr double kProgressSeconds = 5.0;  // how often a load reports

// Arrivals at a rate that goes evenly from one value to another (or stays).
struct Arrivals {
  double from, to, seconds, burst_seconds;

  // Intended arrival of operation `index`, seconds from the start: N(t) = from t + slope t^2 / 2
  // solved for t.
  double Intended(uint64_t index) const {
    const double n = static_cast<double>(index);
    const double slope = (to - from) / seconds;
    // The numerically stable root, also for slope 0.
    const double root = std::sqrt(std::max(0.0, from * from + 2 * slope * n));
    const double at = from + root > 0 ? 2 * n / (from + root) : 0;
    return burst_seconds > 0 ? std::floor(at / burst_seconds) * burst_seconds : at;
  }
  uint64_t Offered() const { return static_cast<uint64_t>((from + to) / 2 * seconds); }
};

struct alignas(64) Writer {
  std::atomic<uint64_t> done{0};
  double cpu_seconds = 0;
  std::vector<uint32_t> latencies;  // open loop only, in kLatencyUnit
};

class Load {
 public:
  using Body = std::function<void(unsigned, Writer&, Random&)>;

  Load(Bench& bench, const char* command, double seconds)
      : bench_(bench), command_(command), seconds_(seconds), writers_(bench.flags.writers) {}

  // Runs `body` in every writer thread, readers beside, and reports progress until all have ended.
  void Run(const Body& body) {
    before_ = Counters::Of(bench_);
    cpu_before_ = ProcessCpuSeconds();
    start_ = Now() + 0.01;
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < writers_.size(); ++w) {
      threads.emplace_back([&, w] {
        prctl(PR_SET_NAME, "writer");
        Random random(bench_.flags.seed * 1000003 + w + static_cast<uint64_t>(start_ * 1e6));
        const double before = ThreadCpuSeconds();
        SleepUntil(start_);
        body(w, writers_[w], random);
        writers_[w].cpu_seconds = ThreadCpuSeconds() - before;
      });
    }
    std::vector<std::thread> readers;
    for (unsigned r = 0; r < bench_.flags.readers; ++r) readers.emplace_back([&, r] { Read(r); });
    std::thread reporter([&] { Report(); });
    for (auto& thread : threads) thread.join();
    elapsed_ = Now() - start_;
    over_ = true;
    reporter.join();
    for (auto& thread : readers) thread.join();
  }

  double start() const { return start_; }
  double end() const { return start_ + seconds_; }
  const std::vector<Writer>& writers() const { return writers_; }
  uint64_t Done() const {
    uint64_t done = 0;
    for (const auto& writer : writers_) done += writer.done.load(std::memory_order_relaxed);
    return done;
  }

  // The fields that every load's result has.
  Json Result() {
    const Counters now = Counters::Of(bench_);
    double writer_cpu = 0;
    for (const auto& writer : writers_) writer_cpu = std::max(writer_cpu, writer.cpu_seconds);
    Json line;
    line.Add("event", "result").Add("command", command_).Add("seconds", elapsed_);
    line.Add("puts", Done())
        .Add("cpu_seconds", ProcessCpuSeconds() - cpu_before_)
        .Add("busiest_writer_cpu_seconds", writer_cpu)
        .Add("gets", gets_.load())
        .Add("stall_seconds", now.stall_seconds - before_.stall_seconds)
        .Add("wal_bytes", now.wal_bytes - before_.wal_bytes)
        .Add("wal_syncs", now.wal_syncs - before_.wal_syncs)
        .Add("delayed_ratio", sampler_.DelayedRatio())
        .Add("stopped_ratio", sampler_.StoppedRatio())
        .Add("first_delayed_seconds", sampler_.first_delayed())
        .Add("first_stopped_seconds", sampler_.first_stopped())
        .Add("sst_bytes", bench_.Property("live-sst-files-size"))
        .Raw("levels", Levels(bench_));
    return line;
  }

 private:
  void Report() {
    double next_sample = start_, next_progress = start_ + kProgressSeconds;
    Counters before = before_;
    double cpu_before = cpu_before_;
    uint64_t puts_before = 0;
    double last = start_;
    while (!over_) {
      next_sample += kSampleSeconds;
      SleepUntil(next_sample);
      const double now = Now();
      sampler_.Sample(now - start_);
      if (now < next_progress) continue;
      next_progress += kProgressSeconds;
      const Counters counters = Counters::Of(bench_);
      const double cpu = ProcessCpuSeconds();
      const uint64_t puts = Done();
      Json line;
      line.Add("event", "progress").Add("command", command_).Add("at_seconds", now - start_);
      line.Add("seconds", now - last).Add("puts", puts - puts_before);
      sampler_.AddTo(line);
      line.Add("stall_seconds", counters.stall_seconds - before.stall_seconds)
          .Add("wal_bytes", counters.wal_bytes - before.wal_bytes)
          .Add("cpu_seconds", cpu - cpu_before)
          .Add("sst_bytes", bench_.Property("live-sst-files-size"))
          .Print();
      before = counters;
      cpu_before = cpu;
      puts_before = puts;
      last = now;
    }
  }

  void Read(unsigned reader) {
    prctl(PR_SET_NAME, "reader");
    Random random(bench_.flags.seed * 7919 + reader);
    const double rate = bench_.flags.reads_per_second;
    rocksdb::PinnableSlice value;
    for (uint64_t index = reader; !over_; index += bench_.flags.readers) {
      if (rate > 0) SleepUntil(start_ + static_cast<double>(index) / rate);
      const Key key(random.Below(bench_.flags.keys));
      const auto status = bench_.db->Get(rocksdb::ReadOptions(),
                                         bench_.db->DefaultColumnFamily(), key.slice(), &value);
      if (!status.IsNotFound()) Check(status, "get");
      value.Reset();
      gets_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  Bench& bench_;
  const char* command_;
  double seconds_;
  std::vector<Writer> writers_;
  Sampler sampler_{bench_};
  std::atomic<bool> over_{false};
  std::atomic<uint64_t> gets_{0};
  Counters before_;
  double start_ = 0, elapsed_ = 0, cpu_before_ = 0;
};

}  // namespace driver

#endif
