#pragma once
// Where webhooks may go. A URL is a stranger's, and the server stands where strangers do not: so what a webhook could reach behind a
// firewall is refused, by the URL when the job is accepted and by the address when a connection is made (webhook_client.h).
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace bailiff::server {

inline constexpr std::size_t kMaxWebhookUrlBytes = 2048;

struct WebhookRules {
  bool allow_private = false;  // addresses that are not the public internet's
  bool allow_http = false;     // without TLS
};

struct WebhookTarget {
  bool tls = true;
  std::string host;  // a name, or an IP address without brackets
  std::uint16_t port = 443;
  std::string authority;  // as the Host header has it: the port where it is not the scheme's own
  std::string path;       // with the query
  [[nodiscard]] std::string origin() const { return (tls ? "https://" : "http://") + authority; }
};

/// The fault, for the client, where the URL is not one that a webhook may have.
[[nodiscard]] std::expected<WebhookTarget, std::string> parse_webhook_url(std::string_view url, const WebhookRules& rules);

/// Whether the address is one of the public internet by IANA's registries of special-purpose addresses (RFC 6890). An IPv4 address behind
/// NAT64's well-known prefix is judged as itself.
[[nodiscard]] bool is_public(const boost::asio::ip::address& address);

}  // namespace bailiff::server
