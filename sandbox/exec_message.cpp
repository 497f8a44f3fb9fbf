#include "sandbox/exec_message.h"

#include <sys/wait.h>

#include <algorithm>

#include "sandbox/message.h"
#include "sandbox/socket.h"
#include "sandbox/wire.h"

namespace bailiff::sandbox {
namespace {

std::unexpected<core::Error> refused(const char* what) { return core::error(core::ErrorKind::invalid, what); }
std::unexpected<core::Error> malformed() { return core::error(core::ErrorKind::unavailable, "malformed answer from a slot"); }

template <class T, class Put>
void put_list(WireWriter& out, const std::vector<T>& items, const Put& put) {
  out.put(static_cast<std::uint32_t>(items.size()));
  for (const auto& item : items) put(item);
}

/// No memory is reserved for a count that is a lie: the first item that is not there ends it.
template <class T, class Take>
std::vector<T> take_list(WireReader& in, const Take& take) {
  std::vector<T> items;
  const auto count = in.take<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) items.push_back(take());
  return items;
}

/// The first message on an `answer` socket, of the type that was asked for.
core::Result<Message> take_answer(const core::Fd& answer, char type) {
  auto message = receive_message(answer.get());
  if (!message) return message;
  if (message->bytes.empty()) return core::error(core::ErrorKind::conflict, "no step runs in this slot");
  if (message->bytes.front() == type) return message;
  const auto refusal = decode_report(message->bytes);
  return message->bytes.front() == kErrorMessage && !refusal ? std::unexpected(refusal.error()) : malformed();
}

}  // namespace

std::string encode_exec(const ExecRequest& request) {
  WireWriter out;
  out.put(kExecMessage);
  out.put_strings(request.argv);
  out.put_strings(request.env);
  out.put<std::uint8_t>(request.terminal);
  out.put(request.rows);
  out.put(request.columns);
  return out.bytes();
}

core::Result<ExecRequest> decode_exec(std::string_view bytes) {
  WireReader in(bytes);
  ExecRequest request;
  const bool typed = in.take<char>() == kExecMessage;
  request.argv = in.take_strings();
  request.env = in.take_strings();
  request.terminal = in.take<std::uint8_t>() != 0;
  request.rows = in.take<std::uint16_t>();
  request.columns = in.take<std::uint16_t>();
  if (!typed || !in.complete()) return refused("malformed exec request");
  if (auto sane = check_command(request.argv, request.env); !sane) return std::unexpected(sane.error());
  return request;
}

std::string encode_inspection(const Inspection& inspection) {
  WireWriter out;
  out.put(kInspectionMessage);
  put_list(out, inspection.namespaces, [&](const Inspection::Namespace& one) {
    out.put_string(one.type);
    out.put(one.inode);
    out.put(one.owner_uid);
    out.put(one.owner_inode);
    out.put(one.parent_inode);
  });
  put_list(out, inspection.groups, [&](const Inspection::Group& group) {
    out.put_string(group.hierarchy);
    out.put_string(group.path);
  });
  out.put(inspection.memory_bytes);
  out.put(inspection.processes_now);
  put_list(out, inspection.processes, [&](const Inspection::Process& process) {
    out.put(process.host_pid);
    out.put(process.pid);
    out.put_string(process.name);
  });
  out.put<std::uint8_t>(inspection.truncated);
  out.put_values(inspection.samples);
  return out.bytes();
}

core::Result<Inspection> decode_inspection(std::string_view bytes) {
  WireReader in(bytes);
  Inspection inspection;
  const bool typed = in.take<char>() == kInspectionMessage;
  inspection.namespaces = take_list<Inspection::Namespace>(in, [&] {
    Inspection::Namespace one;
    one.type = in.take_string();
    one.inode = in.take<std::uint64_t>();
    one.owner_uid = in.take<std::uint32_t>();
    one.owner_inode = in.take<std::uint64_t>();
    one.parent_inode = in.take<std::uint64_t>();
    return one;
  });
  inspection.groups = take_list<Inspection::Group>(in, [&] {
    Inspection::Group group;
    group.hierarchy = in.take_string();
    group.path = in.take_string();
    return group;
  });
  inspection.memory_bytes = in.take<std::uint64_t>();
  inspection.processes_now = in.take<std::uint64_t>();
  inspection.processes = take_list<Inspection::Process>(in, [&] {
    Inspection::Process process;
    process.host_pid = in.take<pid_t>();
    process.pid = in.take<pid_t>();
    process.name = in.take_string();
    return process;
  });
  inspection.truncated = in.take<std::uint8_t>() != 0;
  inspection.samples = in.take_values<core::UsageSample>();
  if (!typed || !in.complete()) return malformed();
  return inspection;
}

std::string encode_exec_end(int wait_status) {
  WireWriter out;
  out.put(kEndedMessage);
  out.put(static_cast<std::int32_t>(wait_status));
  return out.bytes();
}

std::string encode_refusal(const core::Error& error) { return encode_report(std::unexpected(error)); }

core::Result<core::Fd> Slot::ask_inspection() { return ask({&kInspectMessage, 1}); }
core::Result<core::Fd> Slot::ask_exec(const ExecRequest& request) { return ask(encode_exec(request)); }

core::Result<core::Fd> Slot::ask(std::string_view message) {
  if (message.size() > kMaxMessageBytes) return refused("the command and its environment are too long");
  auto sockets = socket_pair();
  if (!sockets) return std::unexpected(sockets.error());
  if (auto sent = send_message(socket_.get(), message, {sockets->second.get()}); !sent) return std::unexpected(sent.error());
  return std::move(sockets->first);
}

core::Result<Inspection> take_inspection(const core::Fd& answer) {
  auto message = take_answer(answer, kInspectionMessage);
  if (!message) return std::unexpected(message.error());
  return decode_inspection(message->bytes);
}

core::Result<ExecSession> take_exec(core::Fd answer) {
  auto message = take_answer(answer, kBegunMessage);
  if (!message) return std::unexpected(message.error());
  auto& fds = message->fds;
  if (fds.size() != 1 && fds.size() != 3) return malformed();
  ExecSession session{std::move(answer), std::move(fds[0]), {}, {}};
  if (fds.size() == 3) {
    session.output = std::move(fds[1]);
    session.errors = std::move(fds[2]);
  }
  return session;
}

core::Result<ExecEnd> take_exec_end(const core::Fd& control) {
  auto message = receive_message(control.get());
  if (!message) return std::unexpected(message.error());
  WireReader in(message->bytes);
  const bool typed = in.take<char>() == kEndedMessage;
  const int status = in.take<std::int32_t>();
  if (!typed || !in.complete()) return core::error(core::ErrorKind::unavailable, "the slot is gone");
  if (WIFEXITED(status)) return ExecEnd{WEXITSTATUS(status), std::nullopt};
  return ExecEnd{std::nullopt, WTERMSIG(status)};
}

}  // namespace bailiff::sandbox
