#include "server/trace_context.h"

#include <gtest/gtest.h>

namespace bailiff::server {
namespace {

constexpr const char* kGood = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContext, TakesWhatIsWellFormedAndNothingElse) {
  EXPECT_EQ(traceparent_of(kGood), kGood);
  EXPECT_EQ(traceparent_of("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"), kGood) << "a later version";
  for (const char* bad :
       {"", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x"})
    EXPECT_FALSE(traceparent_of(bad)) << bad;
}

TEST(TraceContext, ASpanOfOurOwnIsInTheSameTrace) {
  const auto first = next_span(kGood), second = next_span(kGood);
  EXPECT_NE(first, second);
  EXPECT_NE(first, kGood);
  for (const auto& span : {first, second}) {
    EXPECT_EQ(traceparent_of(span), span);
    EXPECT_EQ(span.substr(0, 36), std::string(kGood).substr(0, 36));
    EXPECT_TRUE(span.ends_with("-01"));
  }
}

}  // namespace
}  // namespace bailiff::server
