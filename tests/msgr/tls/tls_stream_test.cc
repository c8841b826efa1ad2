// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/tls/tls_stream.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "msgr/loopback/pipe_stream.h"
#include "msgr/net/stream_link.h"
#include "tests/msgr/link_fixture.h"
#include "tests/msgr/tls/tls_stack.h"

namespace lunar::msgr {
namespace {

// A stream through which somebody in the middle looks, and changes what a test says.
class ForgedStream final : public ByteStream {
 public:
  struct Forgery {
    std::size_t most_at_once = SIZE_MAX;  // of a receive() or a send()
    std::optional<std::size_t> flip;      // the byte received at this place
    std::optional<std::size_t> end;       // nothing more is received from this place on
    std::size_t received = 0;
    std::string seen;  // what was sent
  };
  ForgedStream(std::unique_ptr<ByteStream> inner, Forgery& forgery)
      : inner_(std::move(inner)), forgery_(forgery) {}

  StreamResult send(std::span<const iovec> iovecs) override {
    const iovec first = cut(iovecs[0]);
    const StreamResult result = inner_->send(std::span(&first, 1));
    forgery_.seen.append(static_cast<const char*>(first.iov_base), result.bytes);
    return result;
  }
  StreamResult receive(std::span<const iovec> iovecs) override {
    iovec first = cut(iovecs[0]);
    if (forgery_.end) first.iov_len = std::min(first.iov_len, *forgery_.end - forgery_.received);
    if (first.iov_len == 0) {
      StreamResult ended;
      ended.has_ended = true;
      return ended;
    }
    const StreamResult result = inner_->receive(std::span(&first, 1));
    if (forgery_.flip && *forgery_.flip >= forgery_.received &&
        *forgery_.flip < forgery_.received + result.bytes) {
      static_cast<char*>(first.iov_base)[*forgery_.flip - forgery_.received] ^= 1;
    }
    forgery_.received += result.bytes;
    return result;
  }
  std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) override {
    return inner_->start(events, std::move(on_ready));
  }
  void set_events(FdEvents events) override { inner_->set_events(events); }
  std::error_code take_error() noexcept override { return inner_->take_error(); }
  Address local_address() const override { return inner_->local_address(); }
  Address peer_address() const override { return inner_->peer_address(); }

 private:
  iovec cut(iovec first) const {
    first.iov_len = std::min(first.iov_len, forgery_.most_at_once);
    return first;
  }
  const std::unique_ptr<ByteStream> inner_;
  Forgery& forgery_;
};

// Two links over a pipe, of which each goes on inside TLS.
class TlsStreamTest : public ::testing::Test {
 protected:
  struct End {
    ForgedStream::Forgery forgery;
    TestPeer peer;
    std::optional<tls::ChannelBinding> binding;
  };

  TlsStreamTest()
      : center_(std::move(*EventCenter::create({}))), pool_(make_heap_buffer_pool(64u << 20, 0)) {}
  ~TlsStreamTest() override {
    for (End* end : {&connector_, &acceptor_}) end->peer.frames.clear();
    close_all(*center_, {&connector_.peer, &acceptor_.peer});
    EXPECT_EQ(pool_->bytes_in_use(), 0u);
  }

  void connect(std::size_t capacity = 1u << 20) {
    const auto pair = make_pipe_pair(Address::loopback(), Address::loopback(), capacity);
    int index = 0;
    for (End* end : {&connector_, &acceptor_}) {
      auto stream = std::make_unique<ForgedStream>(attach_pipe(*center_, pair, index++, nullptr),
                                                   end->forgery);
      StreamLinkOptions options;
      end->peer.attach(std::make_unique<StreamLink>(*center_, std::move(stream), *pool_, options));
    }
  }
  void secure(End& end, tls::TlsParty party) {
    end.peer.link->wrap_stream(std::make_unique<tls::TlsWrap>(
        std::move(party), [&end](const tls::ChannelBinding& binding) { end.binding = binding; }));
  }
  void secure_both() {
    secure(connector_, tls_party(true, "client.a", 'k'));
    secure(acceptor_, tls_party(false, "client.a", 'k'));
  }
  bool until(const std::function<bool()>& done) { return test::turn_until(*center_, done); }
  bool open() {
    connect();
    secure_both();
    return until([&] { return connector_.binding && acceptor_.binding; });
  }
  bool both_end() {
    return until([&] { return connector_.peer.closed && acceptor_.peer.closed; });
  }
  std::error_code why(const End& end) const { return *end.peer.closed; }
  void send(End& from, std::string_view front, std::string_view data = {}) {
    from.peer.link->send(test_frame(1, front, data), {});
  }

  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<BufferPool> pool_;
  End connector_;
  End acceptor_;
};

TEST_F(TlsStreamTest, BothEndsKnowTheSameOfTheirConnectionAndNobodyReadsIt) {
  ASSERT_TRUE(open());
  EXPECT_EQ(*connector_.binding, *acceptor_.binding);
  const std::string data(100'000, 'p');
  send(connector_, "front", data);
  send(acceptor_, "answer", data);
  ASSERT_TRUE(until(
      [&] { return acceptor_.peer.frames.size() == 1 && connector_.peer.frames.size() == 1; }));
  EXPECT_EQ(as_text(acceptor_.peer.frames[0].data), data);
  EXPECT_EQ(as_text(connector_.peer.frames[0].data), data);
  for (const End* end : {&connector_, &acceptor_}) {
    EXPECT_GT(end->forgery.seen.size(), data.size());
    EXPECT_EQ(end->forgery.seen.find("pppp"), std::string::npos);
  }
}

TEST_F(TlsStreamTest, EachConnectionHasABindingOfItsOwn) {
  ASSERT_TRUE(open());
  const tls::ChannelBinding first = *connector_.binding;
  close_all(*center_, {&connector_.peer, &acceptor_.peer});
  connector_.binding.reset();
  acceptor_.binding.reset();
  connector_.peer.closed.reset();
  acceptor_.peer.closed.reset();
  ASSERT_TRUE(open());
  EXPECT_NE(first, *connector_.binding);
}

// What was queued before leaves as it is; and what was read ahead behind the last frame is TLS's.
TEST_F(TlsStreamTest, BeginsBehindTheFramesOfBefore) {
  connect();
  acceptor_.peer.also_on_frame = [&](ReceivedFrame&) {
    if (acceptor_.peer.frames.size() == 1) secure(acceptor_, tls_party(false, "client.a", 'k'));
  };
  const std::string data(200'000, 'x');
  send(connector_, "plain", data);
  secure(connector_, tls_party(true, "client.a", 'k'));
  ASSERT_TRUE(until([&] { return connector_.binding && acceptor_.binding; }));
  EXPECT_EQ(as_text(acceptor_.peer.frames[0].data), data);
  send(connector_, "inside");
  ASSERT_TRUE(until([&] { return acceptor_.peer.frames.size() == 2; }));
}

TEST_F(TlsStreamTest, WorksByteByByte) {
  connector_.forgery.most_at_once = acceptor_.forgery.most_at_once = 1;
  ASSERT_TRUE(open());
  send(connector_, "front", "data");
  send(acceptor_, "other", "way");
  EXPECT_TRUE(until(
      [&] { return acceptor_.peer.frames.size() == 1 && connector_.peer.frames.size() == 1; }));
}

TEST_F(TlsStreamTest, AStreamThatTakesLittleGetsItAll) {
  connect(700);
  secure_both();
  const std::string data = test_pattern(3u << 20, 1);
  ASSERT_TRUE(until([&] { return connector_.binding && acceptor_.binding; }));
  SentCounter sent;
  for (int i = 0; i < 2; ++i) {
    connector_.peer.link->send(test_frame(1, "front", data), sent.add());
    acceptor_.peer.link->send(test_frame(2, "front", data), sent.add());
  }
  ASSERT_TRUE(until(
      [&] { return acceptor_.peer.frames.size() == 2 && connector_.peer.frames.size() == 2; }));
  EXPECT_TRUE(sent.each_once());
  EXPECT_EQ(as_text(acceptor_.peer.frames[1].data), data);
  EXPECT_EQ(as_text(connector_.peer.frames[1].data), data);
}

TEST_F(TlsStreamTest, PayloadLandsWhereItWasPlaced) {
  ASSERT_TRUE(open());
  const std::string data = test_pattern(5u << 20, 7);
  std::string place(data.size(), '\0');
  acceptor_.peer.place = [&](const FrameHeader&) {
    return Bytes(reinterpret_cast<std::byte*>(place.data()), place.size());
  };
  send(connector_, "front", data);
  send(connector_, "next");
  ASSERT_TRUE(until([&] { return acceptor_.peer.frames.size() == 2; }));
  EXPECT_EQ(place, data);
}

TEST_F(TlsStreamTest, ManySmallFramesLeaveInFewRecords) {
  ASSERT_TRUE(open());
  const std::size_t before = connector_.forgery.seen.size();
  for (int i = 0; i < 1000; ++i) send(connector_, "f");
  ASSERT_TRUE(until([&] { return acceptor_.peer.frames.size() == 1000; }));
  const std::size_t plain = 1000 * (sizeof(FrameHeader) + 1);
  EXPECT_LT(connector_.forgery.seen.size() - before, plain + 10 * 22);
}

TEST_F(TlsStreamTest, APausedLinkGoesOnWithWhatWasLeft) {
  ASSERT_TRUE(open());
  int count = 0;
  acceptor_.peer.also_on_frame = [&](ReceivedFrame&) {
    if (++count == 1) acceptor_.peer.link->pause_reading();
  };
  for (int i = 0; i < 100; ++i) send(connector_, "frame", std::string_view("data"));
  ASSERT_TRUE(until([&] { return count >= 1; }));
  center_->run_until_idle();
  EXPECT_EQ(count, 1);
  acceptor_.peer.link->resume_reading();
  EXPECT_TRUE(until([&] { return count == 100; }));
}

TEST_F(TlsStreamTest, AByteChangedOnTheWayEndsTheLink) {
  ASSERT_TRUE(open());
  acceptor_.forgery.flip = acceptor_.forgery.received + 5000;
  const std::string data(100'000, 'p');
  send(connector_, "front", data);
  ASSERT_TRUE(both_end());
  EXPECT_EQ(why(acceptor_), MsgrErrc::kBadRecord);
  EXPECT_TRUE(acceptor_.peer.frames.empty());
}

TEST_F(TlsStreamTest, AByteChangedInTheHandshakeEndsIt) {
  for (const std::size_t place : {60u, 150u}) {
    connect();
    acceptor_.forgery = connector_.forgery = {};
    acceptor_.forgery.flip = place;
    secure_both();
    ASSERT_TRUE(until([&] { return acceptor_.peer.closed.has_value(); })) << place;
    EXPECT_FALSE(acceptor_.binding);
    close_all(*center_, {&connector_.peer, &acceptor_.peer});
    connector_.peer.closed.reset();
    acceptor_.peer.closed.reset();
  }
}

TEST_F(TlsStreamTest, AStreamCutInARecordIsAnError) {
  ASSERT_TRUE(open());
  acceptor_.forgery.end = acceptor_.forgery.received + 50'000;
  const std::string data(100'000, 'p');
  send(connector_, "front", data);
  ASSERT_TRUE(both_end());
  EXPECT_EQ(why(acceptor_), MsgrErrc::kClosedByPeer);
  EXPECT_TRUE(acceptor_.peer.frames.empty());
}

TEST_F(TlsStreamTest, AStreamCutBetweenRecordsIsAnErrorToo) {
  ASSERT_TRUE(open());
  send(connector_, "front");
  ASSERT_TRUE(until([&] { return acceptor_.peer.frames.size() == 1; }));
  close_all(*center_, {&connector_.peer});
  ASSERT_TRUE(until([&] { return acceptor_.peer.closed.has_value(); }));
  EXPECT_EQ(why(acceptor_), MsgrErrc::kClosedByPeer);
}

TEST_F(TlsStreamTest, AWrongKeyAndAnUnknownIdentityLookTheSame) {
  std::vector<std::string> answers;
  for (const auto& [identity, key] : {std::pair("client.a", 'w'), std::pair("client.b", 'k')}) {
    connect();
    acceptor_.forgery = connector_.forgery = {};
    secure(connector_, tls_party(true, identity, key));
    secure(acceptor_, tls_party(false, "client.a", 'k'));
    ASSERT_TRUE(both_end());
    EXPECT_EQ(why(connector_), MsgrErrc::kAuthFailed);
    EXPECT_EQ(why(acceptor_), MsgrErrc::kAuthFailed);
    EXPECT_FALSE(connector_.binding || acceptor_.binding);
    answers.push_back(acceptor_.forgery.seen);
    close_all(*center_, {&connector_.peer, &acceptor_.peer});
    connector_.peer.closed.reset();
    acceptor_.peer.closed.reset();
  }
  EXPECT_FALSE(answers[0].empty()) << "an alert";
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_F(TlsStreamTest, OneOfSeveralKeysIsEnough) {
  connect();
  secure(connector_, tls_party(true, "client.a#2", 'n'));
  tls::TlsParty party = tls_party(false, "client.a#1", 'k');
  party.keys.push_back(std::move(tls_party(false, "client.a#2", 'n').keys[0]));
  secure(acceptor_, std::move(party));
  EXPECT_TRUE(until([&] { return connector_.binding && acceptor_.binding; }));
}

TEST_F(TlsStreamTest, APeerThatSpeaksPlainFramesIsRefused) {
  connect();
  secure(acceptor_, tls_party(false, "client.a", 'k'));
  send(connector_, "front");
  ASSERT_TRUE(until([&] { return acceptor_.peer.closed.has_value(); }));
  EXPECT_EQ(why(acceptor_), MsgrErrc::kAuthFailed);
}

TEST_F(TlsStreamTest, APeerThatHeardNothingOfTlsRefusesIt) {
  connect();
  secure(connector_, tls_party(true, "client.a", 'k'));
  ASSERT_TRUE(both_end());
  EXPECT_EQ(why(acceptor_), MsgrErrc::kBadMagic);
}

TEST_F(TlsStreamTest, ALinkInItsHandshakeCanBeClosed) {
  connect();
  secure_both();
  close_all(*center_, {&connector_.peer, &acceptor_.peer});
  center_->run_until_idle();
  EXPECT_FALSE(connector_.binding || acceptor_.binding);
}

}  // namespace
}  // namespace lunar::msgr
