// SPDX-License-Identifier: LGPL-2.1-or-later
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "common/random.h"
#include "tests/fuzz/fuzz.h"

// A mutating fuzzer without coverage feedback, so that it builds with any compiler. That is enough
// for decoders whose seeds have all their forms. Usage: NAME [--seconds N] [--seed S] [INPUT…].
// With INPUT files it runs just those. A crash leaves its input in crash-NAME-SEED.
// --write-seeds FOLDER: writes them for a fuzzer that has none of its own, and ends.

// Of the sanitizers, if the build has one.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Input = std::vector<std::byte>;

Input current;
std::string crash_file;

void save_crash() {
  std::ofstream(crash_file, std::ios::binary)
      .write(reinterpret_cast<const char*>(current.data()),
             static_cast<std::streamsize>(current.size()));
  std::fprintf(stderr, "the input is in %s\n", crash_file.c_str());
}

void on_abort(int) {
  save_crash();
  _exit(1);
}

std::byte interesting_byte(lunar::RandomEngine& random) {
  constexpr std::array<uint8_t, 8> kBytes = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x10, 0x40};
  return std::byte{random() % 2 == 0 ? kBytes[random() % kBytes.size()]
                                     : static_cast<uint8_t>(random())};
}

void mutate(Input& input, const std::vector<Input>& seeds, lunar::RandomEngine& random) {
  const std::size_t at = input.empty() ? 0 : random() % input.size();
  const auto where = input.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random() % 7) {
    case 0:
      if (!input.empty()) *where ^= std::byte{static_cast<uint8_t>(1u << random() % 8)};
      break;
    case 1:
      if (!input.empty()) *where = interesting_byte(random);
      break;
    case 2:  // a field of 2, 4 or 8 bytes, all alike
      for (std::size_t i = at; i < std::min(input.size(), at + (std::size_t{2} << random() % 3));
           ++i) {
        input[i] = random() % 2 == 0 ? std::byte{0xff} : std::byte{0};
      }
      break;
    case 3:
      input.resize(at);
      break;
    case 4:
      input.insert(where, 1 + random() % 16, interesting_byte(random));
      break;
    case 5:
      if (!input.empty())
        input.erase(where, where + 1 + static_cast<std::ptrdiff_t>(random() % (input.size() - at)));
      break;
    default: {  // the rest comes from another seed
      const Input& other = seeds[random() % seeds.size()];
      input.resize(at);
      const std::size_t from = std::min(at, other.size());
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
    }
  }
}

int write_seeds(const std::string& folder) {
  int number = 0;
  for (const Input& each : lunar::fuzz::seeds()) {
    const std::string path = folder + "/seed-" + std::to_string(number++);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(each.data()),
               static_cast<std::streamsize>(each.size()));
    if (file.close(), file) continue;
    std::fprintf(stderr, "cannot write %s\n", path.c_str());
    return 2;
  }
  return 0;
}

int run_files(int count, char** names) {
  for (int i = 0; i < count; ++i) {
    std::ifstream file(names[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", names[i]);
      return 2;
    }
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    lunar::fuzz::run_one(lunar::as_const_bytes(text));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  uint64_t seed = 1;
  int next = 1;
  for (; next + 1 < argc && argv[next][0] == '-'; next += 2) {
    const std::string option = argv[next];
    if (option == "--seconds") {
      seconds = std::atof(argv[next + 1]);
    } else if (option == "--seed") {
      seed = std::strtoull(argv[next + 1], nullptr, 10);
    } else if (option == "--write-seeds") {
      return write_seeds(argv[next + 1]);
    } else {
      std::fprintf(stderr, "usage: %s [--seconds N] [--seed S] [--write-seeds FOLDER] [INPUT...]\n",
                   argv[0]);
      return 2;
    }
  }
  if (next < argc) return run_files(argc - next, argv + next);

  const std::string program = argv[0];
  crash_file = "crash-" + program.substr(program.rfind('/') + 1) + "-" + std::to_string(seed);
  signal(SIGABRT, on_abort);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(save_crash);
  lunar::RandomEngine random = lunar::seeded_engine(seed);
  const std::vector<Input> seeds = lunar::fuzz::seeds();
  for (const Input& each : seeds) {
    current = each;
    lunar::fuzz::run_one(current);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  uint64_t runs = 0;
  while (runs % 256 != 0 || std::chrono::steady_clock::now() < end) {
    current = seeds[random() % seeds.size()];
    for (uint64_t changes = random() % 6; changes > 0; --changes) mutate(current, seeds, random);
    lunar::fuzz::run_one(current);
    ++runs;
  }
  std::printf("%llu inputs, seed %llu\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(seed));
  return 0;
}
