#include <gtest/gtest.h>

#include "sandbox/message.h"

namespace bailiff::sandbox {
namespace {

StepRequest full_request() {
  StepRequest request;
  request.image = "host";
  request.argv = {"/bin/x", "", "a b"};
  request.env = {"A=1", "B="};
  request.cwd = "sub/dir";
  request.keep_workspace = true;
  request.collect = {"**"};
  request.collect_bytes = 77;
  request.limits.memory_bytes = 123 << 20;
  return request;
}

TEST(Message, RequestSurvivesTheTrip) {
  const auto request = full_request();
  const auto decoded = decode_request(encode_request(request));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->argv, request.argv);
  EXPECT_EQ(decoded->env, request.env);
  EXPECT_EQ(decoded->cwd, request.cwd);
  EXPECT_EQ(decoded->limits, request.limits);
  EXPECT_EQ(decoded->keep_workspace, true);
  EXPECT_EQ(decoded->keep_previous_workspace, false);
  EXPECT_EQ(decoded->collect, request.collect);
  EXPECT_EQ(decoded->collect_bytes, 77U);
}

TEST(Message, EveryTruncationAndExtensionIsRefused) {
  const auto bytes = encode_request(full_request());
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_request(std::string_view(bytes).substr(0, size))) << size;
  EXPECT_FALSE(decode_request(bytes + "x"));
}

TEST(Message, EveryFlippedByteIsDecodedSafelyOrRefused) {
  const auto bytes = encode_request(full_request());
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      auto changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const auto decoded = decode_request(changed);
      EXPECT_LE(decoded ? decoded->argv.size() : 0, bytes.size());
    }
}

TEST(Message, ReportSurvivesTheTrip) {
  StepReport report;
  report.outcome.verdict = core::Verdict::memory_limit_exceeded;
  report.outcome.signal = 9;
  report.outcome.message = "m";
  report.outcome.usage.cpu_us = 5;
  report.outcome.evidence = {{"oom_kill", 1}};
  report.outcome.stderr_truncated = true;
  report.outcome.samples = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  const auto decoded = decode_report(encode_report(std::move(report)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->outcome.verdict, core::Verdict::memory_limit_exceeded);
  EXPECT_EQ(decoded->outcome.signal, 9);
  EXPECT_FALSE(decoded->outcome.exit_code);
  EXPECT_EQ(decoded->outcome.evidence.at(0).second, 1);
  ASSERT_EQ(decoded->outcome.samples.size(), 2U);
  EXPECT_EQ(decoded->outcome.samples[1].processes, 8U);
  const auto failed = decode_report(encode_report(core::error(core::ErrorKind::invalid, "why")));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().what, "why");
  EXPECT_EQ(failed.error().kind, core::ErrorKind::invalid);
}

}  // namespace
}  // namespace bailiff::sandbox
