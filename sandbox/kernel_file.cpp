#include "sandbox/kernel_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>

namespace bailiff::sandbox {

core::Result<core::Fd> open_kernel_file(const std::string& path, int flags) {
  core::Fd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.valid()) return core::errno_error(path);
  return fd;
}

core::Status write_kernel_file(int fd, std::string_view text) {
  if (pwrite(fd, text.data(), text.size(), 0) < 0) return core::errno_error("write " + std::string(text) + " to a kernel file");
  return {};
}

core::Status write_kernel_file(const std::string& path, std::string_view text) {
  auto fd = open_kernel_file(path, O_WRONLY);
  if (!fd) return std::unexpected(fd.error());
  if (write(fd->get(), text.data(), text.size()) < 0) return core::errno_error("write " + std::string(text) + " to " + path);
  return {};
}

core::Result<std::string> read_kernel_file(int fd) {
  std::array<char, 8192> buffer;
  const ssize_t n = pread(fd, buffer.data(), buffer.size(), 0);
  if (n < 0) return core::errno_error("read of a kernel file");
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

core::Result<std::string> read_kernel_file(const std::string& path) {
  auto fd = open_kernel_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  return read_kernel_file(fd->get());
}

std::string kernel_line(const std::string& path) {
  const auto text = read_kernel_file(path);
  return text ? text->substr(0, text->find('\n')) : "";
}

core::Result<std::uint64_t> read_kernel_number(int fd) {
  auto text = read_kernel_file(fd);
  if (!text) return std::unexpected(text.error());
  if (text->starts_with("max")) return UINT64_MAX;
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (fault != std::errc{}) return core::error(core::ErrorKind::internal, "not a number in a kernel file: " + *text);
  return number;
}

std::uint64_t keyed_number(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      std::uint64_t number = 0;
      std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), number);
      return number;
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return 0;
}

}  // namespace bailiff::sandbox
