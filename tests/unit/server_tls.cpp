// HTTPS: what a client and the session behind the front see of each other.
#include "server/tls_front.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <filesystem>
#include <fstream>

#include "server_http_fixture.h"
#include "server_self_signed.h"

namespace bailiff::server::testing {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

/// PEM files of one identity, gone with the object.
class KeyPair {
 public:
  explicit KeyPair(const SelfSigned& identity) { write(identity); }
  ~KeyPair() { std::filesystem::remove_all(directory_); }
  KeyPair(const KeyPair&) = delete;
  KeyPair& operator=(const KeyPair&) = delete;
  void write(const SelfSigned& identity) const {
    std::ofstream(files().certificate) << identity.certificate;
    std::ofstream(files().key) << identity.key;
  }
  [[nodiscard]] TlsFront::Files files() const { return {directory_ + "/certificate.pem", directory_ + "/key.pem"}; }

 private:
  static std::string make_directory() {
    std::string name = ::testing::TempDir() + "bailiff-tls-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    return name;
  }
  std::string directory_ = make_directory();
};

/// Trusts one certificate alone.
class TlsClient {
 public:
  /// `window`: bytes that are taken before they are read; 0: as many as usual.
  TlsClient(std::uint16_t port, const SelfSigned& trusted, int window = 0)
      : context_(asio::ssl::context::tls_client), stream_(io_, context_) {
    context_.add_certificate_authority(asio::buffer(trusted.certificate));
    stream_.set_verify_mode(asio::ssl::verify_peer);
    stream_.next_layer().open(tcp::v4());
    if (window > 0) stream_.next_layer().set_option(asio::socket_base::receive_buffer_size(window));
    // A server that does not answer fails the test rather than holding it for ever.
    stream_.next_layer().connect({asio::ip::make_address("127.0.0.1"), port});
    const timeval limit{20, 0};
    ::setsockopt(stream_.next_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  bool shake_hands() {
    error_code refused;
    stream_.handshake(asio::ssl::stream_base::client, refused);
    return !refused;
  }
  bool send(const std::string& bytes) {
    error_code failed;
    asio::write(stream_, asio::buffer(bytes), failed);
    return !failed;
  }
  http::response<http::string_body> read() {
    http::response_parser<http::string_body> parser;
    parser.body_limit(1ULL << 30);
    error_code failed;
    http::read(stream_, buffer_, parser, failed);
    EXPECT_FALSE(failed) << failed.message();
    return parser.release();
  }
  /// True where the server ends the connection as TLS wants it, so that nobody else could have.
  bool is_ended() {
    char byte = 0;
    error_code ended;
    stream_.read_some(asio::buffer(&byte, 1), ended);
    return ended == asio::error::eof;
  }
  void say_goodbye() {
    error_code ignored;
    stream_.shutdown(ignored);
  }
  void vanish() {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }
  SSL* native() { return stream_.native_handle(); }

 private:
  asio::io_context io_;
  asio::ssl::context context_;
  asio::ssl::stream<tcp::socket> stream_;
  boost::beast::flat_buffer buffer_;
};

class TlsTest : public HttpServerTest {
 protected:
  void start_tls(HttpBounds bounds = {}) {
    auto loaded = TlsFront::load(pair.files());
    ASSERT_TRUE(loaded) << loaded.error().what;
    tls = std::move(*loaded);
    start(bounds);
  }
  SelfSigned identity{"IP:127.0.0.1"};
  KeyPair pair{identity};
};

TEST_F(TlsTest, RequestsAreAnsweredOneAfterTheOther) {
  start_tls();
  TlsClient client(port, identity);
  ASSERT_TRUE(client.shake_hands());
  EXPECT_EQ(SSL_version(client.native()), TLS1_3_VERSION);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(client.send(request("POST", "/v1/jobs", "Content-Type: application/json\r\n", kJob)));
    EXPECT_EQ(client.read().result_int(), 202);
  }
  ASSERT_TRUE(client.send(request("GET", "/v1/jobs", "Connection: close\r\n")));
  EXPECT_EQ(client.read().result_int(), 200);
  EXPECT_TRUE(client.is_ended());
}

TEST_F(TlsTest, OldProtocolsAreRefusedAndHttp11IsChosen) {
  start_tls();
  TlsClient old(port, identity);
  SSL_set_max_proto_version(old.native(), TLS1_1_VERSION);
  EXPECT_FALSE(old.shake_hands());
  TlsClient offers(port, identity);
  const unsigned char protocols[] = "\x02h2\x08http/1.1";
  SSL_set_alpn_protos(offers.native(), protocols, sizeof protocols - 1);
  ASSERT_TRUE(offers.shake_hands());
  const unsigned char* chosen = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(offers.native(), &chosen, &length);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), length), "http/1.1");
}

TEST_F(TlsTest, WhoSpeaksPlainHttpIsToldSo) {
  start_tls();
  const auto answer = ask("GET", "/v1/jobs");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json()["detail"], "this port speaks https");
}

TEST_F(TlsTest, ARefusedUploadIsAnsweredBeforeTheClose) {
  HttpBounds bounds;
  bounds.body_bytes = 64 * 1024;
  start_tls(bounds);
  TlsClient client(port, identity);
  ASSERT_TRUE(client.shake_hands());
  client.send(request("POST", "/v1/jobs", "Content-Type: application/json\r\n", std::string(4 << 20, 'x')));
  EXPECT_EQ(client.read().result_int(), 413);
}

TEST_F(TlsTest, ALargeAnswerIsWhole) {
  start_tls();
  TlsClient client(port, identity);
  ASSERT_TRUE(client.shake_hands());
  client.send(request("GET", "/openapi.json"));
  const std::string body = client.read().body();
  EXPECT_GT(body.size(), 64U * 1024);
  EXPECT_TRUE(nlohmann::json::accept(body));
}

TEST_F(TlsTest, AClientThatLeavesIsNoticedWhileItsAnswerIsHeld) {
  start_tls();
  for (const bool politely : {true, false}) {
    TlsClient client(port, identity);
    ASSERT_TRUE(client.shake_hands());
    client.send(request("POST", "/v1/jobs", "Content-Type: application/json\r\nPrefer: wait=60\r\n", kJob));
    ASSERT_TRUE(reaches([&] { return jobs.waiters == 1; }));
    if (politely) client.say_goodbye();
    else client.vanish();
    EXPECT_TRUE(reaches([&] { return jobs.waiters == 0; })) << politely;
  }
}

TEST_F(TlsTest, WhoNeverShakesHandsIsCutOff) {
  HttpBounds bounds;
  bounds.header_time = std::chrono::milliseconds(200);
  bounds.linger_time = std::chrono::milliseconds(100);
  start_tls(bounds);
  RawClient silent(port), slow(port);
  slow.send("\x16\x03\x01");  // a handshake record's first bytes
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(slow.closed());
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(TlsTest, ANewCertificateIsUsedOnceItIsReadAndABrokenOneIsNot) {
  start_tls();
  TlsClient before(port, identity);
  ASSERT_TRUE(before.shake_hands());
  std::ofstream(pair.files().certificate) << "no certificate";
  EXPECT_FALSE(on_loop([&] { return tls->reload(); }));
  EXPECT_TRUE(TlsClient(port, identity).shake_hands());
  const SelfSigned renewed("IP:127.0.0.1");
  pair.write(renewed);
  ASSERT_TRUE(on_loop([&] { return tls->reload(); }));
  EXPECT_FALSE(TlsClient(port, identity).shake_hands());
  EXPECT_TRUE(TlsClient(port, renewed).shake_hands());
  before.send(request("GET", "/livez"));
  EXPECT_EQ(before.read().result_int(), 200);
}

TEST_F(TlsTest, WhoTakesNoAnswerIsCountedAndCutOff) {
  HttpBounds bounds;
  bounds.write_time = std::chrono::milliseconds(500);
  bounds.linger_time = std::chrono::milliseconds(100);
  start_tls(bounds);
  TlsClient client(port, identity, 4096);
  ASSERT_TRUE(client.shake_hands());
  for (int i = 0; i < 100; ++i) client.send(request("GET", "/openapi.json"));
  client.send(request("GET", "/openapi.json", "Connection: close\r\n"));
  EXPECT_TRUE(reaches([&] { return server->connections() == 1; }));
  EXPECT_TRUE(reaches([&] { return server->connections() == 0; }));
}

TEST_F(TlsTest, MoreConnectionsThanAllowedAreRefused) {
  HttpBounds bounds;
  bounds.connections = 1;
  start_tls(bounds);
  TlsClient first(port, identity), second(port, identity);
  ASSERT_TRUE(first.shake_hands());
  ASSERT_TRUE(second.shake_hands());
  EXPECT_EQ(second.read().result_int(), 503);
  first.send(request("GET", "/livez"));
  EXPECT_EQ(first.read().result_int(), 200);
}

TEST(TlsFiles, WhatIsWrongWithThemIsNamed) {
  const SelfSigned identity("IP:127.0.0.1"), other("IP:127.0.0.1");
  const KeyPair pair(identity);
  const auto files = pair.files();
  EXPECT_TRUE(TlsFront::load(files));
  std::ofstream(files.key) << other.key;
  const auto foreign = TlsFront::load(files);
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().what.find(files.key), std::string::npos) << foreign.error().what;
  std::ofstream(files.key) << SelfSigned("IP:127.0.0.1", "RSA").key;
  EXPECT_FALSE(TlsFront::load(files)) << "a key of another kind";
  const auto missing = TlsFront::load({"/nowhere/certificate.pem", files.key});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, core::ErrorKind::invalid);
  EXPECT_NE(missing.error().what.find("/nowhere/certificate.pem"), std::string::npos) << missing.error().what;
}

}  // namespace
}  // namespace bailiff::server::testing
