#pragma once
// Every bound of the HTTP side in one table. A server's configuration may move them; zero is never "unlimited".
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace bailiff::server {

struct HttpBounds {
  std::size_t header_bytes = 16 * 1024;              // request line and header fields of one request; more is 431
  std::uint64_t body_bytes = 32ULL * 1024 * 1024;    // of one request; more is 413
  std::uint64_t file_bytes = 16ULL << 30;            // of one that goes into a file; more is 413
  std::uint64_t blob_bytes = 64ULL << 20;            // of one that becomes a blob; more is 413
  std::uint64_t blobs_bytes = 8ULL << 30;            // of all blobs together; more is 503
  std::uint64_t bodies_bytes = 512ULL * 1024 * 1024; // received and not yet answered, over all connections; more is 503
  std::size_t connections = 1024;                    // more are answered 503 and closed
  std::uint64_t inline_output_bytes = 32ULL * 1024 * 1024;  // stdout and stderr inside one job document; what is over is null there
  std::chrono::milliseconds header_time{10'000};     // from the first byte of a request to the end of its header
  std::chrono::milliseconds body_read_time{15'000};  // between two reads of a body
  std::chrono::milliseconds body_time{300'000};      // a whole body
  std::chrono::milliseconds file_time{3'600'000};    // a whole body that goes into a file
  std::chrono::milliseconds idle_time{75'000};       // between two requests of a connection
  std::chrono::milliseconds write_time{30'000};      // of one slice of an answer
  std::chrono::milliseconds linger_time{2'000};      // a refused client may go on sending for this long before the close
  std::uint64_t linger_bytes = 64ULL << 20;          // … and so much
  std::size_t batch_jobs = 1000;                         // of one POST /v1/jobs:batch; more is 422
  std::chrono::milliseconds event_pulse_time{15'000};    // a comment in an event stream that has nothing to tell
  std::size_t websocket_message_bytes = 64 * 1024;       // of one message from a client; more ends the connection with 1009
  std::chrono::milliseconds websocket_ping_time{30'000};    // a silent client is asked for a sign of life so often
  std::chrono::milliseconds websocket_idle_time{600'000};   // without one it is cut off; a host that is gone shows sooner, by TCP
  std::chrono::milliseconds websocket_close_time{5'000};  // for the closing handshake
  std::chrono::milliseconds websocket_drain_time{300'000};  // for a client to take what is left of an output that has ended
  std::chrono::milliseconds longest_wait{300'000};   // Prefer: wait asks for at most this
};

}  // namespace bailiff::server
