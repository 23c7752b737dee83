// Offers load to one RocksDB database and measures what it takes.
//
// Opens the database once, then obeys one command per line of its standard input and answers with
// JSON lines. Every command ends with one line {"event": "result", ...}; loads report a line
// {"event": "progress", ...} every few seconds besides.
//
//   fill N                 write the keys 0..N-1 once each, as fast as possible
//   settle SECONDS         wait until no flush or compaction runs or is due, at most so long
//   open RATE SECONDS      open loop: operations arrive at RATE/s, whatever the database does
//   ramp FROM TO SECONDS   open loop with a rate that rises (or falls) evenly
//   closed SECONDS         closed loop: each writer's next operation follows its last
//   quit
//
// In an open loop every operation has an intended arrival, fixed before the load begins and never
// moved. Latency counts from it, so the wait behind a slow operation is part of the latency of all
// that it held up (Schroeder et al., "Open Versus Closed: A Cautionary Tale", NSDI 2006). Writers
// sleep until the next arrival; they never spin.

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "database.h"
#include "flags.h"
#include "json.h"
#include "load.h"

namespace driver {
namespace {

constexpr double kCalmSeconds = 3.0;  // so long nothing may run for the database to be settled
constexpr double kLatencyUnit = 1e-7;  // raw latencies are kept as multiples of this

// Every key once. Random patterns get a pseudo-random order: i -> (i * step) mod keys with a step
// that shares no divisor with the number of keys visits each once. "deletes" starts with every
// second key, the share that is alive when puts and deletes are in balance.
void Fill(Bench& bench, uint64_t count) {
  const bool sequential = bench.flags.pattern == "sequential";
  const uint64_t keys = bench.flags.keys;
  uint64_t step = static_cast<uint64_t>(static_cast<double>(keys) * 0.6180339887498949) | 1;
  auto divisor = [](uint64_t a, uint64_t b) {
    while (b != 0) std::swap(a %= b, b);
    return a;
  };
  while (divisor(step, keys) != 1) step += 2;
  rocksdb::WriteOptions unsynced = bench.write_options;
  unsynced.sync = false;  // millions of syncs would take hours
  std::atomic<uint64_t> next{0};
  Load load(bench, "fill", 0);
  load.Run([&](unsigned, Writer& writer, Random& random) {
    for (;;) {
      const uint64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      const auto spread = static_cast<uint128>(i) * step % keys;
      const auto number = sequential ? i : static_cast<uint64_t>(spread);
      if (bench.flags.pattern == "deletes" && number % 2 != 0) continue;
      Check(bench.db->Put(unsynced, Key(number).slice(), bench.values.At(random.Next())), "put");
      writer.done.fetch_add(1, std::memory_order_relaxed);
    }
  });
  bench.next_sequential = count;
  load.Result().Print();
}

void Settle(Bench& bench, double limit) {
  const char* busy[] = {"num-running-compactions", "num-running-flushes", "compaction-pending",
                        "mem-table-flush-pending"};
  const double start = Now();
  double calm_since = start;
  bool settled = false;
  while (!settled && Now() - start < limit) {
    SleepUntil(Now() + kSampleSeconds);
    for (const char* name : busy) {
      if (bench.Property(name) != 0) calm_since = Now();
    }
    settled = Now() - calm_since >= kCalmSeconds;
  }
  Json()
      .Add("event", "result")
      .Add("command", "settle")
      .Add("seconds", Now() - start)
      .Add("settled", settled)
      .Add("pending_bytes", bench.Property("estimate-pending-compaction-bytes"))
      .Add("sst_bytes", bench.Property("live-sst-files-size"))
      .Raw("levels", Levels(bench))
      .Print();
}

// For each writer the number of its operations and their latencies in kLatencyUnit, in the order of
// arrival: operation k of writer w of n is operation w + k * n of the load.
void KeepLatencies(const Load& load, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& writer : load.writers()) {
    const uint64_t count = writer.latencies.size();
    file.write(reinterpret_cast<const char*>(&count), sizeof count);
    file.write(reinterpret_cast<const char*>(writer.latencies.data()),
               static_cast<std::streamsize>(count * sizeof(uint32_t)));
  }
  if (!file.flush()) Fail("cannot write " + path);
}

void Open(Bench& bench, const char* command, double from, double to, double seconds) {
  const Arrivals arrivals{from, to, seconds, bench.flags.burst_seconds};
  std::atomic<uint64_t> late{0};  // begun in the window, done after it
  Load load(bench, command, seconds);
  load.Run([&](unsigned number, Writer& writer, Random& random) {
    const auto share = static_cast<double>(arrivals.Offered()) / bench.flags.writers;
    writer.latencies.reserve(static_cast<size_t>(share) + 1);
    for (uint64_t index = number;; index += bench.flags.writers) {
      const double intended = arrivals.Intended(index);
      if (intended >= seconds) return;
      const double arrival = load.start() + intended;
      double begun = Now();
      if (begun < arrival) {
        SleepUntil(arrival);
        begun = Now();
      }
      if (begun >= load.end()) return;
      bench.WriteOne(random);
      const double done = Now();
      writer.latencies.push_back(
          static_cast<uint32_t>(std::min(4e9, (done - arrival) / kLatencyUnit)));
      if (done > load.end()) {
        late.fetch_add(1);
      } else {
        writer.done.fetch_add(1, std::memory_order_relaxed);
      }
    }
  });
  if (!bench.flags.latencies.empty()) KeepLatencies(load, bench.flags.latencies);
  std::vector<uint32_t> latencies;
  for (const auto& writer : load.writers()) {
    latencies.insert(latencies.end(), writer.latencies.begin(), writer.latencies.end());
  }
  auto quantile = [&](double ratio) {
    if (latencies.empty()) return std::nan("");
    const auto rank = static_cast<size_t>(ratio * static_cast<double>(latencies.size() - 1));
    std::nth_element(latencies.begin(), latencies.begin() + static_cast<long>(rank),
                     latencies.end());
    return latencies[rank] * kLatencyUnit;
  };
  const uint64_t offered = arrivals.Offered(), accepted = load.Done();
  Json line = load.Result();
  line.Add("started_monotonic_seconds", load.start())
      .Add("offered", offered)
      .Add("accepted", accepted)
      .Add("backlog", offered > accepted ? offered - accepted : uint64_t{0})
      .Add("p50_seconds", quantile(0.5))
      .Add("p99_seconds", quantile(0.99))
      .Add("p999_seconds", quantile(0.999))
      .Add("max_seconds", quantile(1.0))
      .Print();
}

void Closed(Bench& bench, double seconds) {
  Load load(bench, "closed", seconds);
  load.Run([&](unsigned, Writer& writer, Random& random) {
    while (Now() < load.end()) {
      bench.WriteOne(random);
      writer.done.fetch_add(1, std::memory_order_relaxed);
    }
  });
  load.Result().Print();
}

bool Obey(Bench& bench, const std::string& text) {
  std::istringstream line(text);
  std::string command;
  line >> command;
  double a = 0, b = 0, c = 0;
  if (command == "quit") return false;
  if (command == "fill" && line >> a) {
    Fill(bench, static_cast<uint64_t>(a));
  } else if (command == "settle" && line >> a) {
    Settle(bench, a);
  } else if (command == "open" && line >> a >> b) {
    Open(bench, "open", a, a, b);
  } else if (command == "ramp" && line >> a >> b >> c) {
    Open(bench, "ramp", a, b, c);
  } else if (command == "closed" && line >> a) {
    Closed(bench, a);
  } else {
    Fail("not a command: " + text);
  }
  return true;
}

}  // namespace
}  // namespace driver

int main(int argc, char** argv) {
  prctl(PR_SET_TIMERSLACK, 1000UL);  // 1 us instead of 50: arrivals on time; threads inherit it
  prctl(PR_SET_PDEATHSIG, 9);        // no database outlives its bench
  driver::Bench bench(driver::ParseFlags(argc, argv));
  driver::Json().Add("event", "result").Add("command", "start").Print();
  std::string line;
  while (std::getline(std::cin, line) && driver::Obey(bench, line)) {
  }
  return 0;
}
