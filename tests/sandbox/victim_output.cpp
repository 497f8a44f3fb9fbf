// Bytes into stdout and stderr, in every way that the kernel has.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "tests/sandbox/victims.h"

namespace {

constexpr std::size_t kBlock = 64 << 10;
char block[kBlock];

using Way = ssize_t (*)(int to, std::size_t bytes);

ssize_t by_write(int to, std::size_t bytes) { return write(to, block, bytes); }

ssize_t by_writev(int to, std::size_t bytes) {
  const iovec parts[] = {{block, bytes / 2}, {block, bytes - bytes / 2}};
  return writev(to, parts, 2);
}

ssize_t by_vmsplice(int to, std::size_t bytes) {
  const iovec part{block, bytes};
  return vmsplice(to, &part, 1, 0);
}

ssize_t by_splice(int to, std::size_t bytes) {
  static int ends[2] = {-1, -1};
  if (ends[0] < 0 && pipe(ends) != 0) return -1;
  const ssize_t filled = write(ends[1], block, std::min<std::size_t>(bytes, 4096));
  return filled <= 0 ? filled : splice(ends[0], nullptr, to, nullptr, static_cast<std::size_t>(filled), 0);
}

/// Copies what is in a pipe without taking it out: one page is written and sent for ever.
ssize_t by_tee(int to, std::size_t bytes) {
  static int ends[2] = {-1, -1};
  if (ends[0] < 0 && (pipe(ends) != 0 || write(ends[1], block, 4096) != 4096)) return -1;
  return tee(ends[0], to, std::min<std::size_t>(bytes, 4096), 0);
}

ssize_t by_sendfile(int to, std::size_t bytes) {
  static const int file = memfd_create("source", 0);
  static const bool filled = write(file, block, kBlock) == static_cast<ssize_t>(kBlock);
  off_t from = 0;
  return filled ? sendfile(to, file, &from, bytes) : -1;
}

/// Through a description of its own, opened anew for each block.
ssize_t by_reopening(int to, std::size_t bytes) {
  const int again = open(("/proc/self/fd/" + std::to_string(to)).c_str(), O_WRONLY);
  const ssize_t n = again < 0 ? -1 : write(again, block, bytes);
  close(again);
  return n;
}

const std::map<std::string, Way> kWays = {{"write", by_write}, {"writev", by_writev},     {"vmsplice", by_vmsplice},  {"splice", by_splice},
                                          {"tee", by_tee},     {"sendfile", by_sendfile}, {"reopening", by_reopening}};

/// flood WAY {out|err|both} BYTES: as many bytes to each of them; 0: for ever.
int flood(const Arguments& arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  std::fill(block, block + kBlock, 'f');
  const Way way = kWays.at(arguments.at(0));
  const std::size_t bytes = number(arguments, 2);
  std::size_t left[] = {arguments.at(1) == "err" ? 0 : bytes, arguments.at(1) == "out" ? 0 : bytes};
  while (bytes == 0 || left[0] + left[1] > 0)
    for (const int to : {1, 2}) {
      auto& rest = left[to - 1];
      if (bytes == 0 ? arguments.at(1) == (to == 1 ? "err" : "out") : rest == 0) continue;
      const ssize_t n = way(to, bytes == 0 ? kBlock : std::min(rest, kBlock));
      if (n < 0 && bytes != 0) return errno;
      if (bytes != 0) rest -= static_cast<std::size_t>(n);
    }
  return 0;
}

/// Closes stdout, opens it again from a copy, and says so there.
int reopen_stdout(const Arguments&) {
  const int copy = dup(1);
  close(1);
  if (open(("/proc/self/fd/" + std::to_string(copy)).c_str(), O_WRONLY) != 1) return errno;
  close(copy);
  return write(1, "again\n", 6) == 6 ? 0 : 1;
}

/// Writes to a socket whose other end is closed, for ever.
[[noreturn]] void write_to_closed_socket() {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  (void)socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  close(ends[0]);
  while (true) (void)!write(ends[1], block, kBlock);
}

/// Reads until there is no more, which comes before BYTES are there; then tries to write to what it read from.
int read_more_than(const Arguments& arguments) {
  std::size_t have = 0;
  for (ssize_t n; have < number(arguments) && (n = read(0, block, number(arguments) - have)) > 0;) have += static_cast<std::size_t>(n);
  const char* by_fd = write(0, "x", 1) < 0 ? strerrorname_np(errno) : "ok";
  const int again = open("/dev/stdin", O_RDWR);
  const char* by_path = write(again, "x", 1) < 0 ? strerrorname_np(errno) : "ok";
  std::printf("%zu bytes, then end-of-file; written: %s; by path: %s\n", have, by_fd, by_path);
  return 0;
}

}  // namespace

const Victims& output_victims() {
  static const Victims victims = {
      {"flood", flood},
      {"reopen_stdout", reopen_stdout},
      {"read_more_than", read_more_than},
      {"write_to_closed_socket", [](const Arguments&) -> int { write_to_closed_socket(); }},
  };
  return victims;
}
