// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The main() of this test program: gtest's, or a scenario of a child process.
#include "tests/osd/store/child.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "common/file.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;

#define EXPECT_IN_CHILD(condition)                            \
  do {                                                        \
    if (!(condition)) {                                       \
      std::printf("child.cc:%d: %s\n", __LINE__, #condition); \
      std::fflush(stdout);                                    \
      return 1;                                               \
    }                                                         \
  } while (false)

// Dies before the n-th call that changes something, from arm() on.
class DyingSyscalls : public FakeSyscalls {
 public:
  void arm(int calls) {
    left_ = calls;
    set_rule([this](const std::string&) {
      if (--left_ == 0) ::_exit(kDiedOnPurpose);
      return 0;
    });
  }

 private:
  std::atomic<int> left_ = 0;
};

// replace PATH CALL: dies before the CALL-th call of a replace of 1/object by pattern(5000, 2).
int die_in_replace(const std::vector<std::string>& arguments) {
  DyingSyscalls syscalls;
  StoreDriver driver;
  FileStoreOptions options;
  options.path = arguments.at(0);
  options.reserve_bytes = 0;
  auto store = open_file_store(driver.center(), driver.buffers(), options, &syscalls);
  EXPECT_IN_CHILD(store);
  syscalls.arm(std::stoi(arguments.at(1)));
  EXPECT_IN_CHILD(!driver.replace(**store, {1, "object"}, pattern(5000, 2)));
  syscalls.heal();
  driver.shutdown(**store);
  return 0;
}

// A file system of 8 MiB that only this process sees.
bool mount_small(const std::string& path) {
  const auto uid = ::getuid();
  const auto gid = ::getgid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    const auto put = [](const char* file, const std::string& text) {
      UniqueFd fd(::open(file, O_WRONLY | O_CLOEXEC));
      return fd && !write_all(fd.get(), as_const_bytes(text));
    };
    if (!put("/proc/self/setgroups", "deny") ||
        !put("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") ||
        !put("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1")) {
      return false;
    }
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("lunar", path.c_str(), "tmpfs", 0, "size=8m,mode=700") == 0;
}

// fill PATH IO: a disk that is full.
int fill_the_disk(const std::vector<std::string>& arguments) {
  const std::string& path = arguments.at(0);
  EXPECT_IN_CHILD(mount_small(path));
  EXPECT_IN_CHILD(make_file_store(path, Uuid::random(), 0));
  StoreDriver driver;
  FileStoreOptions options;
  options.path = path;
  options.reserve_bytes = 1 << 20;
  options.io =
      arguments.at(1) == "threads" ? FileStoreOptions::Io::kThreads : FileStoreOptions::Io::kUring;
  auto opened = open_file_store(driver.center(), driver.buffers(), options);
  EXPECT_IN_CHILD(opened);
  ObjectStore& store = **opened;
  const auto bytes = pattern(128 << 10, 1);
  const auto object = [](int i) { return ObjectId{1, "o" + std::to_string(i)}; };
  int count = 0;
  std::error_code error;
  while (!(error = driver.write(store, object(count), 0, bytes))) ++count;
  EXPECT_IN_CHILD(error == OsdErrc::kNoSpace);
  EXPECT_IN_CHILD(count > 40 && count < 60);
  EXPECT_IN_CHILD(driver.write(store, object(count + 1), 0, bytes, true) == OsdErrc::kNoSpace);
  EXPECT_IN_CHILD(!store.may_have_lost_writes());

  // Metadata, and calls that free space, use the reserve.
  EXPECT_IN_CHILD(!driver.put_record(store, "map", std::string(100'000, 'm')));
  EXPECT_IN_CHILD(!driver.replace(store, {1, "header"}, bytes));
  EXPECT_IN_CHILD(driver.read(store, {1, "header"}, 0, bytes.size()) == bytes);
  EXPECT_IN_CHILD(!driver.zero(store, object(0), 100, 5000));
  struct stat reserve {};
  EXPECT_IN_CHILD(::stat((path + "/reserve").c_str(), &reserve) == 0);
  EXPECT_IN_CHILD(reserve.st_size < (1 << 20) && reserve.st_size > 0);

  for (int i = 0; i < count; ++i) EXPECT_IN_CHILD(!driver.remove(store, object(i)));
  EXPECT_IN_CHILD(!driver.write(store, object(1), 0, bytes));
  EXPECT_IN_CHILD(!driver.flush(store));
  driver.shutdown(store);
  EXPECT_IN_CHILD(::stat((path + "/reserve").c_str(), &reserve) == 0);
  EXPECT_IN_CHILD(reserve.st_size == (1 << 20));
  return 0;
}

// full PATH: what goes on when a disk stays full.
int stay_full(const std::vector<std::string>& arguments) {
  const std::string& path = arguments.at(0);
  EXPECT_IN_CHILD(mount_small(path));
  EXPECT_IN_CHILD(make_file_store(path, Uuid::random(), 0));
  StoreDriver driver;
  FileStoreOptions options;
  options.path = path;
  options.reserve_bytes = 1 << 20;
  const auto held = [&] {
    struct stat reserve {};
    return ::stat((path + "/reserve").c_str(), &reserve) == 0 ? reserve.st_size : -1;
  };
  const auto object = [](int i) { return ObjectId{1, "o" + std::to_string(i)}; };
  const auto bytes = pattern(128 << 10, 1);
  const auto other = pattern(128 << 10, 2);

  auto opened = open_file_store(driver.center(), driver.buffers(), options);
  EXPECT_IN_CHILD(opened);
  int count = 0;
  while (!driver.write(**opened, object(count), 0, bytes)) ++count;
  EXPECT_IN_CHILD(held() == 1 << 20);

  // Writing until it is full, and flushing, again and again, with records beside it.
  for (int round = 0; round < 100; ++round) {
    EXPECT_IN_CHILD(driver.write(**opened, object(count), 0, bytes) == OsdErrc::kNoSpace);
    EXPECT_IN_CHILD(!driver.put_record(**opened, "map", std::string(90'000, 'm')));
    EXPECT_IN_CHILD(!driver.replace(**opened, {1, "header"}, pattern(60'000, 3)));
    EXPECT_IN_CHILD(!driver.flush(**opened));
  }
  EXPECT_IN_CHILD(held() > 512 << 10);

  // What has space can be overwritten, across the end too only if there is more.
  EXPECT_IN_CHILD(!driver.write(**opened, object(0), 0, other));
  EXPECT_IN_CHILD(!driver.write(**opened, object(1), 5, ConstBytes(other).first(100), true));
  EXPECT_IN_CHILD(driver.write(**opened, object(1), 64 << 10, other) == OsdErrc::kNoSpace);
  EXPECT_IN_CHILD(driver.read(**opened, object(0), 0, other.size()) == other);
  EXPECT_IN_CHILD((*opened)->usage().available < bytes.size());

  // As after a kill.
  opened->reset();
  opened = open_file_store(driver.center(), driver.buffers(), options);
  EXPECT_IN_CHILD(opened);
  EXPECT_IN_CHILD(!(*opened)->may_have_lost_writes());
  EXPECT_IN_CHILD(!driver.write(**opened, object(2), 0, other));
  EXPECT_IN_CHILD(!driver.put_record(**opened, "unflushed", "mark"));

  EXPECT_IN_CHILD(!driver.zero(**opened, object(3), 0, bytes.size()));
  EXPECT_IN_CHILD(!driver.remove(**opened, object(4)));
  EXPECT_IN_CHILD(!driver.remove(**opened, object(5)));
  EXPECT_IN_CHILD(!driver.remove(**opened, object(6)));
  EXPECT_IN_CHILD(!driver.flush(**opened));
  EXPECT_IN_CHILD(!driver.write(**opened, object(3), 0, bytes));
  driver.shutdown(**opened);
  EXPECT_IN_CHILD(held() == 1 << 20);
  return 0;
}

int run_scenario(const std::vector<std::string>& words) {
  const std::vector<std::string> arguments(words.begin() + 1, words.end());
  if (words[0] == "replace") return die_in_replace(arguments);
  if (words[0] == "full") return stay_full(arguments);
  if (words[0] == "fill") return fill_the_disk(arguments);
  return 2;
}

}  // namespace

ChildResult run_child(const std::string& scenario, const std::vector<std::string>& arguments) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return {};
  UniqueFd read_end(pipe_fds[0]);
  UniqueFd write_end(pipe_fds[1]);
  std::vector<std::string> words{"/proc/self/exe", "--child", scenario};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), 2);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  write_end.reset();
  ChildResult result;
  if (error != 0) return result;
  char buffer[4096];
  for (ssize_t n; (n = ::read(read_end.get(), buffer, sizeof buffer)) > 0;) {
    result.output.append(buffer, static_cast<std::size_t>(n));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace lunar::osd::test

int main(int argc, char** argv) {
  if (argc > 2 && std::string(argv[1]) == "--child") {
    return lunar::osd::test::run_scenario({argv + 2, argv + argc});
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
