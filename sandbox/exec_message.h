#pragma once
// What caller and slot say to one another about what runs beside a program. The slot trusts none of it.
//
// Caller → slot:  inspect {u8 'I'} + fds {answer}; exec {u8 'X', request} + fds {answer}. `answer` is one end of a SOCK_SEQPACKET pair.
// On `answer`:    {u8 'V', inspection} · {u8 'B'} + the caller's ends, when the command was executed, then {u8 'W', i32 wait status} ·
//                 {u8 'E', kind, text} instead of any of them. End-of-file instead of a first message: no step runs.
#include <string>
#include <string_view>

#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::sandbox {

inline constexpr char kInspectMessage = 'I', kExecMessage = 'X';
inline constexpr char kInspectionMessage = 'V', kBegunMessage = 'B', kEndedMessage = 'W';

[[nodiscard]] std::string encode_exec(const ExecRequest& request);
/// Accepts only what is well-formed and sane.
core::Result<ExecRequest> decode_exec(std::string_view bytes);
[[nodiscard]] std::string encode_inspection(const Inspection& inspection);
core::Result<Inspection> decode_inspection(std::string_view bytes);
[[nodiscard]] std::string encode_exec_end(int wait_status);
[[nodiscard]] std::string encode_refusal(const core::Error& error);

}  // namespace bailiff::sandbox
