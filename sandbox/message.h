#pragma once
// What caller, launcher and slot say to one another, and its binary form. The slot trusts none of it: decode_* accept only what is
// well-formed, check_request() only what the launcher's own configuration allows.
//
// Caller → slot:   run  {u8 'R', u8 where, u8 has_stdin, [request]} + fds {stdout, stderr, [request], [stdin], trees …}
//                  (`where` says whether the request follows or is in a sealed memfd)
//                  cancel {u8 'C'}, pause {u8 'P'}, resume {u8 'G'}, tell of output {u8 'T'}: of the step that runs; drop the
//                  workspace {u8 'W'}
// Slot → program:  go   {u8 where, u8 has_stdin, [request]} + fds {[request], [stdin], trees …}, to the process that becomes it
// Slot → caller:   one report per run {u8 'O' outcome… | u8 'E' kind, text} + fds {[collected]}; before it, once for each 'T', {u8 'N'}
//                  when output was captured after the last such notice; and once, where the request asks for a pipe or a terminal,
//                  {u8 'F'} + fd {the caller's end of it}
// Caller → launcher, on a socket of its own: {u8 'A' | u8 'D', image}; launcher → caller: {u32 error kind, text}, the text empty
// where it is done.
// Caller → launcher: the configuration, once. Launcher → caller: {u8 'S', u32 index} + fd for each slot that is ready, {u8 'E', text}
// when it cannot start.
#include <string>
#include <string_view>

#include "core/result.h"
#include "sandbox/client.h"

namespace bailiff::sandbox {

inline constexpr char kRunMessage = 'R', kCancelMessage = 'C', kPauseMessage = 'P', kResumeMessage = 'G', kDropMessage = 'W',
                      kTellOutputMessage = 'T', kOutputNoticeMessage = 'N', kInputNoticeMessage = 'F', kOutcomeMessage = 'O',
                      kErrorMessage = 'E', kSlotMessage = 'S', kAddImageMessage = 'A', kRemoveImageMessage = 'D';
inline constexpr std::size_t kMaxRequestBytes = 4 << 20;
inline constexpr char kInlineRequest = 'I', kMemfdRequest = 'M';
inline constexpr std::size_t kMaxInlineRequestBytes = 64 << 10;
inline constexpr std::size_t kRunHeaderBytes = 3, kGoHeaderBytes = 2;

/// The parts of a request that are not descriptors.
[[nodiscard]] std::string encode_request(const StepRequest& request);
/// The descriptors of the result are empty.
core::Result<StepRequest> decode_request(std::string_view bytes);
/// A command and an environment that can be executed as they are: not empty, no NUL, every variable with a name.
core::Status check_command(const std::vector<std::string>& argv, const std::vector<std::string>& env);
/// What bailiffd asks against what the launcher was configured with: known image, limits at most the ceiling, sane strings.
core::Status check_request(const StepRequest& request, const LauncherConfig& config);

[[nodiscard]] std::string encode_report(const core::Result<StepReport>& report);
/// `collected` of the result is empty.
core::Result<StepReport> decode_report(std::string_view bytes);

[[nodiscard]] std::string encode_config(const LauncherConfig& config);
core::Result<LauncherConfig> decode_config(std::string_view bytes);

}  // namespace bailiff::sandbox
