#pragma once
// SOCK_SEQPACKET socket pairs: one message, with descriptors, at a time.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace bailiff::sandbox {

inline constexpr std::size_t kMaxMessageBytes = 128 * 1024;
inline constexpr std::size_t kMaxMessageFds = 16;

struct Message {
  std::string bytes;             // empty: end-of-file
  std::vector<core::Fd> fds;     // close-on-exec
};

core::Result<std::pair<core::Fd, core::Fd>> socket_pair();
/// Fails with ErrorKind::unavailable when the peer is gone.
core::Status send_message(int socket, std::string_view bytes, const std::vector<int>& fds = {});
/// Blocks. A truncated message is an error.
core::Result<Message> receive_message(int socket);
/// True when `fd` became readable (or hung up) within the time.
bool wait_readable(int fd, std::chrono::milliseconds at_most);

}  // namespace bailiff::sandbox
