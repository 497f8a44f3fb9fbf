#pragma once
// A WebSocket client that can also break every rule, over the raw client of the HTTP tests.
#include <random>

#include "server_http_fixture.h"

namespace bailiff::server::testing {

struct Frame {
  int opcode = -1;  // -1: the connection ended
  std::string payload;
  /// Of a close frame; 0 where it has none.
  [[nodiscard]] int close_code() const {
    if (opcode != 8 || payload.size() < 2) return 0;
    return static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
  }
};

class WebSocketClient : public RawClient {
 public:
  using RawClient::RawClient;
  static constexpr const char* kUpgrade =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

  Answer open(const std::string& target, const std::string& headers = "") {
    send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + kUpgrade + headers + "\r\n");
    return read();
  }
  bool send_frame(int opcode, std::string_view payload, bool masked = true, bool last = true) {
    std::string frame(1, static_cast<char>((last ? 0x80 : 0) | opcode));
    const char mask_bit = masked ? static_cast<char>(0x80) : '\0';
    if (payload.size() < 126) {
      frame += static_cast<char>(mask_bit | static_cast<char>(payload.size()));
    } else {
      const bool longest = payload.size() > 0xFFFF;
      frame += static_cast<char>(mask_bit | (longest ? 127 : 126));
      for (int shift = longest ? 56 : 8; shift >= 0; shift -= 8)
        frame += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> shift & 0xFF);
    }
    if (masked) frame.append(4, '\0');  // a mask of zeros is a mask
    return send(frame + std::string(payload));
  }
  bool send_message(int channel, std::string_view rest) {
    return send_frame(2, std::string(1, static_cast<char>(channel)) + std::string(rest));
  }

  /// Sends input until nobody takes more of it: more than one message, and no more than what sockets hold.
  void type_until_held_up() {
    const timeval soon{0, 300'000};
    EXPECT_EQ(::setsockopt(fd(), SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    std::size_t sent = 0;
    const std::string block(60'000, 'x');
    while (sent < (256U << 20) && send_message(0, block)) sent += block.size();
    EXPECT_GT(sent, block.size());
    EXPECT_LT(sent, 32U << 20);
  }

  Frame read_frame() {
    Frame frame;
    const auto head = take(2);
    if (!head) return frame;
    std::uint64_t size = static_cast<unsigned char>((*head)[1]) & 0x7F;
    if (size >= 126) {
      const auto length = take(size == 126 ? 2 : 8);
      if (!length) return frame;
      size = 0;
      for (const char byte : *length) size = size << 8 | static_cast<unsigned char>(byte);
    }
    const auto payload = take(size);
    if (!payload) return frame;
    frame.opcode = (*head)[0] & 0x0F;
    frame.payload = *payload;
    return frame;
  }
  /// The next data message, pings answered; at the end the close frame, or none.
  Frame read_message() {
    while (true) {
      auto frame = read_frame();
      if (frame.opcode == 9) send_frame(10, frame.payload);
      else return frame;
    }
  }
  /// What comes on each channel until the close frame, which is answered.
  struct Ended {
    std::string out, err;
    nlohmann::json control;
    int close_code = 0;
  };
  Ended read_to_end() {
    Ended ended;
    while (true) {
      const auto frame = read_message();
      if (frame.opcode == 2 && frame.payload[0] == 1) ended.out += frame.payload.substr(1);
      else if (frame.opcode == 2 && frame.payload[0] == 2) ended.err += frame.payload.substr(1);
      else if (frame.opcode == 2 && frame.payload[0] == 3) ended.control = nlohmann::json::parse(frame.payload.substr(1), nullptr, false);
      else {
        ended.close_code = frame.close_code();
        if (frame.opcode == 8) send_frame(8, frame.payload.substr(0, 2));
        return ended;
      }
    }
  }
};

}  // namespace bailiff::server::testing
