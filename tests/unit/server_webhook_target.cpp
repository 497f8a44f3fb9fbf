// Where webhooks may go: URLs and addresses, one difference a row.
#include "server/webhook_target.h"

#include <gtest/gtest.h>

namespace bailiff::server {
namespace {

using Addresses = std::vector<std::pair<const char*, bool>>;

void expect_public(const Addresses& cases) {
  for (const auto& [text, expected] : cases) EXPECT_EQ(is_public(boost::asio::ip::make_address(text)), expected) << text;
}

TEST(WebhookTarget, PublicAddresses) {
  expect_public({
      {"9.255.255.255", true},    {"10.0.0.0", false},        {"10.255.255.255", false},  {"11.0.0.0", true},
      {"0.0.0.0", false},         {"0.255.255.255", false},   {"1.0.0.0", true},          {"100.63.255.255", true},
      {"100.64.0.0", false},      {"100.127.255.255", false}, {"100.128.0.0", true},      {"126.255.255.255", true},
      {"127.0.0.1", false},       {"127.255.255.255", false}, {"128.0.0.0", true},        {"169.253.255.255", true},
      {"169.254.169.254", false}, {"169.255.0.0", true},      {"172.15.255.255", true},   {"172.16.0.0", false},
      {"172.31.255.255", false},  {"172.32.0.0", true},       {"192.0.0.1", false},       {"192.0.1.0", true},
      {"192.0.2.1", false},       {"192.0.3.0", true},        {"192.88.99.1", false},     {"192.167.255.255", true},
      {"192.168.0.1", false},     {"192.169.0.0", true},      {"198.17.255.255", true},   {"198.18.0.0", false},
      {"198.19.255.255", false},  {"198.20.0.0", true},       {"198.51.100.1", false},    {"198.51.101.0", true},
      {"203.0.113.1", false},     {"203.0.114.0", true},      {"223.255.255.255", true},  {"224.0.0.1", false},
      {"239.255.255.255", false}, {"240.0.0.1", false},       {"255.255.255.255", false}, {"8.8.8.8", true},
  });
}

TEST(WebhookTarget, PublicAddressesOfVersionSix) {
  expect_public({
      {"::", false},
      {"::1", false},
      {"::2", false},
      {"::127.0.0.1", false},
      {"::ffff:127.0.0.1", false},
      {"::ffff:10.0.0.1", false},
      {"::ffff:8.8.8.8", false},
      {"64:ff9b::7f00:1", false},
      {"64:ff9b::a9fe:a9fe", false},
      {"64:ff9b::808:808", true},
      {"64:ff9b:1::808:808", false},
      {"100::1", false},
      {"1fff:ffff::1", false},
      {"2000::1", true},
      {"2001::1", false},
      {"2001:1ff:ffff::1", false},
      {"2001:200::1", true},
      {"2001:db7:ffff::1", true},
      {"2001:db8::1", false},
      {"2001:db9::1", true},
      {"2002:7f00:1::1", false},
      {"2002:808:808::1", false},
      {"2003::1", true},
      {"2606:4700:4700::1111", true},
      {"3ffe:ffff::1", true},
      {"3fff:0:1::1", false},
      {"3fff:1000::1", true},
      {"4000::1", false},
      {"fc00::1", false},
      {"fdff::1", false},
      {"fe80::1", false},
      {"febf::1", false},
      {"fec0::1", false},
      {"ff02::1", false},
  });
}

TEST(WebhookTarget, UrlsThatAreTaken) {
  struct Case {
    const char* url;
    bool tls;
    const char* host;
    std::uint16_t port;
    const char* authority;
    const char* path;
  };
  for (const Case& is : {
           Case{"https://example.org/hook", true, "example.org", 443, "example.org", "/hook"},
           Case{"HTTPS://Example.ORG", true, "example.org", 443, "example.org", "/"},
           Case{"https://example.org:443/a/b?c=d&e", true, "example.org", 443, "example.org", "/a/b?c=d&e"},
           Case{"https://example.org:8443?q=%20", true, "example.org", 8443, "example.org:8443", "/?q=%20"},
           Case{"https://a_b-1.example.org:/x", true, "a_b-1.example.org", 443, "a_b-1.example.org", "/x"},
           Case{"https://8.8.8.8:1/", true, "8.8.8.8", 1, "8.8.8.8:1", "/"},
           Case{"https://[2606:4700::1]:65535/", true, "2606:4700::1", 65535, "[2606:4700::1]:65535", "/"},
           Case{"https://%65xample.org/", true, "example.org", 443, "example.org", "/"},
       }) {
    const auto target = parse_webhook_url(is.url, {});
    ASSERT_TRUE(target) << is.url << ": " << target.error();
    EXPECT_EQ(target->tls, is.tls) << is.url;
    EXPECT_EQ(target->host, is.host) << is.url;
    EXPECT_EQ(target->port, is.port) << is.url;
    EXPECT_EQ(target->authority, is.authority) << is.url;
    EXPECT_EQ(target->path, is.path) << is.url;
  }
  EXPECT_EQ(parse_webhook_url("https://Example.org:443/x", {})->origin(), "https://example.org");
  EXPECT_EQ(parse_webhook_url("https://example.org:444/x", {})->origin(), "https://example.org:444");
}

TEST(WebhookTarget, UrlsThatAreRefused) {
  const std::string long_path(kMaxWebhookUrlBytes, 'a');
  for (const std::string& url : std::vector<std::string>{"",
                                                         "example.org",
                                                         "/hook",
                                                         "//example.org/",
                                                         "https:",
                                                         "https:/example.org",
                                                         "https://",
                                                         "https:///x",
                                                         "https://:443/",
                                                         "http://example.org/",
                                                         "ftp://example.org/",
                                                         "file:///etc/passwd",
                                                         "https://user@example.org/",
                                                         "https://user:word@example.org/",
                                                         "https://@example.org/",
                                                         "https://example.org/#part",
                                                         "https://example.org:0/",
                                                         "https://example.org:65536/",
                                                         "https://example.org:x/",
                                                         "https://example.org/a b",
                                                         "https://example.org/\r\nHost: x",
                                                         "https://exa mple.org/",
                                                         "https://ex%20ample.org/",
                                                         "https://ex%00ample.org/",
                                                         "https://ex%2Fample.org/",
                                                         "https://b\xc3\xbc"
                                                         "cher.example/",
                                                         "https://b%C3%BCcher.example/",
                                                         "https://./",
                                                         "https://example..",
                                                         "https://127.0.0.1/",
                                                         "https://10.1.2.3:8080/",
                                                         "https://169.254.169.254/latest/meta-data",
                                                         "https://[::1]/",
                                                         "https://[::ffff:127.0.0.1]/",
                                                         "https://[fe80::1%25eth0]/",
                                                         "https://[v1.x]/",
                                                         "https://[::1/",
                                                         "https://localhost/",
                                                         "https://LOCALHOST./",
                                                         "https://a.localhost/",
                                                         "https://127.1/",
                                                         "https://2130706433/",
                                                         "https://0x7f000001/",
                                                         "https://0x7f.1/",
                                                         "https://0177.0.0.1/",
                                                         "https://127.0.0.1./",
                                                         "https://" + std::string(254, 'a') + "/",
                                                         "https://example.org/" + long_path}) {
    const auto target = parse_webhook_url(url, {});
    ASSERT_FALSE(target) << url;
    EXPECT_FALSE(target.error().empty()) << url;
  }
}

TEST(WebhookTarget, RulesOpenWhatTheyNameAndNoMore) {
  const WebhookRules closed, with_http{false, true}, with_private{true, false};
  for (const char* url : {"https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://10.0.0.1/"}) {
    EXPECT_FALSE(parse_webhook_url(url, closed)) << url;
    EXPECT_FALSE(parse_webhook_url(url, with_http)) << url;
    EXPECT_TRUE(parse_webhook_url(url, with_private)) << url;
  }
  EXPECT_FALSE(parse_webhook_url("http://example.org/", closed));
  EXPECT_FALSE(parse_webhook_url("http://example.org/", with_private));
  const auto plain = parse_webhook_url("http://example.org/", with_http);
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->port, 80);
  EXPECT_EQ(plain->origin(), "http://example.org");
  EXPECT_FALSE(parse_webhook_url("http://127.0.0.1/", with_http));
  EXPECT_FALSE(parse_webhook_url("https://user@127.0.0.1/", with_private));
}

}  // namespace
}  // namespace bailiff::server
