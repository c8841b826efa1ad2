// SPDX-License-Identifier: LGPL-2.1-or-later
// Test program: object IO and commands against running servers, one after the other.
//   osd_io [common arguments] COMMAND...
//   pool NAME | write OBJECT TEXT | read OBJECT LENGTH | flush | command OSD JSON
// Prints a line for each; ends with 1 at the first error, whose sentence goes to stderr.
#include <fmt/core.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/program.h"
#include "msgr/messenger.h"
#include "objecter/objecter.h"

namespace lunar {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;

constexpr std::chrono::seconds kTimeout{20};

class Client {
 public:
  Outcome<void> open(Program& program) {
    auto center = msgr::EventCenter::create({});
    if (!center) return failure(center.error(), "no event loop");
    center_ = std::move(*center);
    auto stack = msgr::make_network_stack(program.config());
    if (!stack) return failure(stack.error());
    stack_ = std::move(*stack);
    auto messenger = msgr::MessengerOptions::from_config(program.config());
    if (!messenger) return failure(messenger.error());
    auto options = objecter::Objecter::Options::from_config(program.config());
    if (!options) return failure(options.error());
    if (messenger->auth_required) {
      auto keyring = Keyring::load(program.config().get_string("keyring"));
      if (!keyring) return failure(keyring.error());
      keyring_ = std::move(*keyring);
    }
    auto objecter = objecter::Objecter::create(*center_, *stack_, *messenger, *options,
                                               keyring_ ? &*keyring_ : nullptr, &program.perf());
    if (!objecter) return failure(objecter.error());
    objecter_ = std::move(*objecter);
    Outcome<void> result;
    objecter_->wait_for_map(kTimeout, [&](Outcome<objecter::OsdMapRef> map) {
      if (!map) result = failure(map.error());
      center_->stop();
    });
    center_->run();
    return result;
  }

  Outcome<std::string> command(int osd, const std::string& json) {
    Outcome<std::string> result;
    objecter_->command(osd, json, kTimeout, [&](Outcome<std::string> answer) {
      result = std::move(answer);
      center_->stop();
    });
    center_->run();
    return result;
  }

  Outcome<std::string> object(const std::string& name, OpCode code, uint64_t length,
                              const std::string& data) {
    if (objecter_->map()->pools.empty()) return failure(std::errc::invalid_argument, "no pool");
    ObjectOp op;
    op.object = {objecter_->map()->pools.front().id, name};
    op.image = kImage;
    op.flags = objecter::kOpIdempotent;
    op.steps.resize(1);
    op.steps[0].code = code;
    op.steps[0].length = length;
    op.steps[0].data_length = static_cast<uint32_t>(data.size());
    if (!data.empty()) op.data.push_back(as_const_bytes(data));
    Outcome<std::string> result;
    objecter_->submit(std::move(op), [&](OpReply reply) {
      if (reply.error)
        result = failure(reply.error, reply.error.message());
      else
        result = std::string(as_text(reply.data));
      center_->stop();
    });
    center_->run();
    return result;
  }

  Outcome<std::string> flush() {
    Outcome<std::string> result = std::string("flushed");
    objecter_->flush(objecter_->map()->pools.front().id, kImage, 0,
                     objecter::Objecter::LossHearer::kInitiator, [&](std::error_code error) {
                       if (error) result = failure(error, error.message());
                       center_->stop();
                     });
    center_->run();
    return result;
  }

  void close() {
    if (!objecter_) return;
    objecter_->shutdown([this] { center_->stop(); });
    center_->run();
  }

 private:
  static constexpr objecter::ImageId kImage = 7;
  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::optional<Keyring> keyring_;
  std::unique_ptr<objecter::Objecter> objecter_;
};

Outcome<std::string> run_one(Client& client, const std::vector<std::string>& words,
                             std::size_t& at) {
  const auto next = [&] { return at < words.size() ? words[at++] : std::string(); };
  const std::string verb = next();
  if (verb == "pool")
    return client.command(-1, R"({"prefix": "pool create", "pool": ")" + next() + "\"}");
  if (verb == "flush") return client.flush();
  if (verb == "write") {
    const std::string object = next();
    const std::string text = next();
    return client.object(object, OpCode::kWrite, text.size(), text);
  }
  if (verb == "read") {
    const std::string object = next();
    return client.object(object, OpCode::kRead, std::strtoull(next().c_str(), nullptr, 10), {});
  }
  if (verb == "command") {
    const int osd = std::atoi(next().c_str());
    return client.command(osd, next());
  }
  return failure(std::errc::invalid_argument, "unknown verb " + verb);
}

int run(int argc, char** argv) {
  ProgramDefaults defaults;
  defaults.name = "osd_io";
  auto program = Program::start(argc, argv, defaults);
  if (!program) return fmt::print(stderr, "{}\n", program.error().message), 1;
  Client client;
  int status = 0;
  if (const auto opened = client.open(**program); !opened) {
    fmt::print(stderr, "{}\n", opened.error().message);
    status = 1;
  }
  const std::vector<std::string>& words = (*program)->arguments();
  for (std::size_t at = 0; status == 0 && at < words.size();) {
    const auto result = run_one(client, words, at);
    if (result) {
      fmt::print("{}\n", *result);
    } else {
      fmt::print(stderr, "{}\n", result.error().message);
      status = 1;
    }
  }
  client.close();
  return status;
}

}  // namespace
}  // namespace lunar

int main(int argc, char** argv) { return lunar::run(argc, argv); }
