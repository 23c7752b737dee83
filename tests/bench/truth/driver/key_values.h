// Random numbers, keys and values.
#ifndef SMAXD_DRIVER_KEY_VALUES_H_
#define SMAXD_DRIVER_KEY_VALUES_H_

#include <rocksdb/slice.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

namespace driver {

constexpr size_t kKeyBytes = 16;
__extension__ typedef unsigned __int128 uint128;

// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): small, fast, one word of state per thread.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<uint128>(Next()) * bound) >> 64);
  }
  double Ratio() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

// Keys as db_bench makes them: the number big-endian, so that order is numeric, then padding.
class Key {
 public:
  explicit Key(uint64_t number) {
    bytes_.fill('0');
    for (int i = 0; i < 8; ++i) bytes_[i] = static_cast<char>(number >> (56 - 8 * i));
  }
  rocksdb::Slice slice() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, kKeyBytes> bytes_;
};

// Values compressible as db_bench's (RandomGenerator): pieces of 100 bytes, of which the given
// share is random and the rest repeats it. Values are windows into a megabyte of them.
class Values {
 public:
  Values(size_t value_bytes, double compressible, uint64_t seed) : value_bytes_(value_bytes) {
    constexpr size_t kPiece = 100;
    const size_t raw = std::max<size_t>(1, static_cast<size_t>(kPiece * compressible));
    const size_t wanted = std::max<size_t>(1 << 20, 2 * value_bytes);
    Random random(seed);
    while (pool_.size() < wanted) {
      std::string piece;
      for (size_t i = 0; i < raw; ++i) piece += static_cast<char>(' ' + random.Below(95));
      while (piece.size() < kPiece) piece += piece;
      pool_.append(piece, 0, kPiece);
    }
  }
  rocksdb::Slice At(uint64_t random) const {
    return {pool_.data() + random % (pool_.size() - value_bytes_ + 1), value_bytes_};
  }

 private:
  size_t value_bytes_;
  std::string pool_;
};

}  // namespace driver

#endif
