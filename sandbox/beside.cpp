#include "sandbox/beside.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/descriptors.h"
#include "sandbox/exec_message.h"
#include "sandbox/inspect.h"

namespace bailiff::sandbox {
namespace {

bool is_message_socket(const core::Fd& fd) {
  int domain = 0, type = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
         getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/// Without waiting for a caller that does not read.
void refuse(const core::Fd& answer, const core::Error& error) {
  (void)fcntl(answer.get(), F_SETFL, O_NONBLOCK);
  (void)send_message(answer.get(), encode_refusal(error));
}

}  // namespace

void Beside::serve(Message& message, bool paused, const std::vector<core::UsageSample>& samples) {
  if (message.fds.size() != 1 || !is_message_socket(message.fds.front())) return;
  auto answer = std::move(message.fds.front());
  if (message.bytes.front() == kExecMessage && paused) refuse(answer, {core::ErrorKind::conflict, "the program is paused", 0});
  else if (message.bytes.front() == kExecMessage) exec(message.bytes, std::move(answer));
  else if (message.bytes.front() == kInspectMessage) inspect(std::move(answer), samples);
}

void Beside::exec(const std::string& bytes, core::Fd answer) {
  const auto request = decode_exec(bytes);
  if (!request) return refuse(answer, request.error());
  auto started = execs_.start([&](core::Fd leash) { attend_exec(site_, *request, core::Fd(answer.release()), std::move(leash)); });
  if (!started) refuse(answer, started.error());
}

void Beside::inspect(core::Fd answer, const std::vector<core::UsageSample>& samples) {
  auto started = inspections_.start([&](core::Fd) {
    if (!close_all_but({0, 1, 2, answer.get()})) _exit(1);
    (void)fcntl(answer.get(), F_SETFL, O_NONBLOCK);
    auto seen = inspect_sandbox(site_.init, site_.groups);
    if (seen) seen->samples = samples;
    (void)send_message(answer.get(), seen ? encode_inspection(*seen) : encode_refusal(seen.error()));
    _exit(0);
  });
  if (!started) refuse(answer, started.error());
}

core::Status Beside::end() {
  auto first = execs_.end();
  auto second = inspections_.end();
  return first ? second : first;
}

}  // namespace bailiff::sandbox
