#include "server/webhook_target.h"

#include <fmt/core.h>

// The only file that uses Boost.URL, which Debian has as headers alone with the other ones of 1.81.
#include <boost/url/src.hpp>

#include <algorithm>
#include <array>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

namespace bailiff::server {

namespace ip = boost::asio::ip;
namespace urls = boost::urls;

namespace {

constexpr std::size_t kMaxNameBytes = 253;  // RFC 1035

// https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast. 240.0.0.0/4 has broadcast in it.
constexpr std::array kSpecialV4 = {"0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
                                   "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
                                   "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4"};
// All that is global unicast is in the first, but not all in it is: IETF protocols with Teredo, benchmarks and ORCHID; documentation; 6to4,
// whose addresses have IPv4 ones inside.
constexpr const char* kGlobalV6 = "2000::/3";
constexpr std::array kSpecialV6 = {"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"};
constexpr const char* kNat64 = "64:ff9b::/96";  // RFC 6052

template <class Networks>
bool is_in(const ip::address_v4& address, const Networks& networks) {
  const ip::network_v4 host(address, 32);
  return std::ranges::any_of(networks, [&](const char* network) { return host.is_subnet_of(ip::make_network_v4(network)); });
}
bool is_in(const ip::address_v6& address, const char* network) {
  return ip::network_v6(address, 128).is_subnet_of(ip::make_network_v6(network));
}

bool is_public_v6(const ip::address_v6& address) {
  if (is_in(address, kNat64)) {
    const auto bytes = address.to_bytes();
    const ip::address_v4::bytes_type inside = {bytes[12], bytes[13], bytes[14], bytes[15]};
    return is_public(ip::address_v4(inside));
  }
  const auto holds_it = [&](const char* network) { return is_in(address, network); };
  return is_in(address, kGlobalV6) && std::ranges::none_of(kSpecialV6, holds_it);
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

/// A name that only DNS can mean something by. A last label that is a number makes getaddrinfo(3) read the whole as an address ("127.1").
std::string fault_of_name(std::string_view name, const WebhookRules& rules) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto fits = [&](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_' || c == '.'; };
  if (name.empty() || name.size() > kMaxNameBytes || !std::ranges::all_of(name, fits))
    return "its host must be a DNS name (letters, digits and hyphens; other scripts as xn--…) or an IP address";
  if (name.ends_with('.')) name.remove_suffix(1);
  const auto last = name.substr(name.rfind('.') + 1);
  if (last.starts_with("0x") || std::ranges::all_of(last, is_digit))
    return "its host is neither a DNS name nor an IP address as it is usually written";
  if (!rules.allow_private && (name == "localhost" || name.ends_with(".localhost")))
    return "its host is this server itself; webhooks go to public addresses only";
  return {};
}

std::string fault_of_url(const urls::url_view& url, const WebhookRules& rules) {
  const auto scheme = url.scheme_id();
  if (scheme != urls::scheme::https && scheme != urls::scheme::http) return "must begin with https://";
  if (scheme == urls::scheme::http && !rules.allow_http) return "must begin with https://; this server sends nothing unencrypted";
  if (!url.has_authority() || url.encoded_host().empty()) return "has no host";
  if (url.has_userinfo()) return "must not have a user name or password in it";
  if (url.has_fragment()) return "must not have a fragment (#…), for it is never sent";
  // Boost 1.81 takes what is no port for a path without a slash.
  const bool broken_port = !url.encoded_path().empty() && !url.is_path_absolute();
  if (broken_port || (!url.port().empty() && url.port_number() == 0)) return "its port must be from 1 to 65535";
  if (url.host_type() == urls::host_type::ipvfuture) return "its host is of no known kind";
  return {};
}

}  // namespace

bool is_public(const ip::address& address) { return address.is_v4() ? !is_in(address.to_v4(), kSpecialV4) : is_public_v6(address.to_v6()); }

std::expected<WebhookTarget, std::string> parse_webhook_url(std::string_view text, const WebhookRules& rules) {
  if (text.size() > kMaxWebhookUrlBytes) return std::unexpected(fmt::format("must have at most {} bytes", kMaxWebhookUrlBytes));
  const auto parsed = urls::parse_uri(text);
  if (!parsed) return std::unexpected("must be an absolute URL such as https://example.org/hook");
  const urls::url_view url = *parsed;
  if (auto fault = fault_of_url(url, rules); !fault.empty()) return std::unexpected(std::move(fault));
  WebhookTarget target;
  target.tls = url.scheme_id() == urls::scheme::https;
  target.host = lower_case(url.host_address());
  const std::uint16_t own_port = target.tls ? 443 : 80;
  target.port = url.port().empty() ? own_port : url.port_number();
  if (url.host_type() == urls::host_type::name) {
    if (auto fault = fault_of_name(target.host, rules); !fault.empty()) return std::unexpected(std::move(fault));
  } else {
    boost::system::error_code failed;
    const auto address = ip::make_address(target.host, failed);
    if (failed) return std::unexpected("its host is not an IP address");
    if (!rules.allow_private && !is_public(address))
      return std::unexpected("its host is not a public address; webhooks go to public addresses only");
  }
  const bool bracketed = url.host_type() == urls::host_type::ipv6;
  target.authority = bracketed ? "[" + target.host + "]" : target.host;
  if (target.port != own_port) target.authority += fmt::format(":{}", target.port);
  target.path = std::string(url.encoded_target());
  if (!target.path.starts_with('/')) target.path.insert(0, "/");
  return target;
}

}  // namespace bailiff::server
