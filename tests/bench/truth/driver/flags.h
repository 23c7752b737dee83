// The command line.
#ifndef SMAXD_DRIVER_FLAGS_H_
#define SMAXD_DRIVER_FLAGS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>

#include "json.h"

namespace driver {

struct Flags {
  std::string db;
  std::string options;  // RocksDB's own form: name=value;name=value
  uint64_t keys = 1'000'000;
  size_t value_bytes = 1024;
  double compressible = 0.5;  // what a compressor leaves of a value, about
  std::string pattern = "overwrite";  // or "sequential", "deletes"
  double delete_ratio = 0.5;          // of the operations of the pattern "deletes"
  unsigned writers = 4;
  unsigned readers = 0;
  double reads_per_second = 0;  // all readers together; 0: as fast as they can
  std::string wal = "on";       // or "off", "sync"
  double burst_seconds = 0.001;  // operations arrive in groups this far apart; 0: singly
  double rate_limiter_bytes = 0;  // RocksDB's own limiter, bytes/s; 0: none
  uint64_t seed = 1;
  std::string latencies;  // file for the raw latencies of the last open loop; empty: none
};

inline Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  const std::map<std::string, std::function<void(const std::string&)>> setters = {
      {"--db", [&](const std::string& v) { flags.db = v; }},
      {"--options", [&](const std::string& v) { flags.options = v; }},
      {"--keys", [&](const std::string& v) { flags.keys = std::stoull(v); }},
      {"--value-bytes", [&](const std::string& v) { flags.value_bytes = std::stoull(v); }},
      {"--compressible", [&](const std::string& v) { flags.compressible = std::stod(v); }},
      {"--pattern", [&](const std::string& v) { flags.pattern = v; }},
      {"--delete-ratio", [&](const std::string& v) { flags.delete_ratio = std::stod(v); }},
      {"--writers",
       [&](const std::string& v) { flags.writers = static_cast<unsigned>(std::stoul(v)); }},
      {"--readers",
       [&](const std::string& v) { flags.readers = static_cast<unsigned>(std::stoul(v)); }},
      {"--reads-per-second",
       [&](const std::string& v) { flags.reads_per_second = std::stod(v); }},
      {"--wal", [&](const std::string& v) { flags.wal = v; }},
      {"--burst-seconds", [&](const std::string& v) { flags.burst_seconds = std::stod(v); }},
      {"--rate-limiter-bytes",
       [&](const std::string& v) { flags.rate_limiter_bytes = std::stod(v); }},
      {"--seed", [&](const std::string& v) { flags.seed = std::stoull(v); }},
      {"--latencies", [&](const std::string& v) { flags.latencies = v; }},
  };
  for (int i = 1; i < argc; i += 2) {
    const auto found = setters.find(argv[i]);
    if (found == setters.end() || i + 1 == argc) Fail(std::string("unknown flag ") + argv[i]);
    try {
      found->second(argv[i + 1]);
    } catch (const std::exception&) {
      Fail(std::string("not a value for ") + argv[i] + ": " + argv[i + 1]);
    }
  }
  if (flags.db.empty() || flags.keys == 0 || flags.writers == 0) Fail("--db, --keys, --writers");
  return flags;
}

}  // namespace driver

#endif
