// Attempts to reach or to change a network.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/sandbox/victims.h"

namespace {

/// PORT ADDRESS …: one datagram and one connection to each; what the kernel says.
int reach(const Arguments& arguments) {
  const auto port = htons(static_cast<std::uint16_t>(number(arguments)));
  for (const auto& address : Arguments(arguments.begin() + 1, arguments.end())) {
    sockaddr_storage to{};
    socklen_t size = sizeof(sockaddr_in);
    auto* four = reinterpret_cast<sockaddr_in*>(&to);
    auto* six = reinterpret_cast<sockaddr_in6*>(&to);
    if (inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
      four->sin_family = AF_INET;
      four->sin_port = port;
    } else if (inet_pton(AF_INET6, address.c_str(), &six->sin6_addr) == 1) {
      six->sin6_family = AF_INET6;
      six->sin6_port = port;
      six->sin6_scope_id = 1;
      size = sizeof(sockaddr_in6);
    }
    const int datagram = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), stream = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    attempt("udp " + address, sendto(datagram, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), size));
    attempt("tcp " + address, connect(stream, reinterpret_cast<sockaddr*>(&to), size));
    close(datagram);
    close(stream);
  }
  return 0;
}

/// Prints which socket families can be had at all, and which types and protocols of the Internet's.
int socket_kinds(const Arguments&) {
  for (int family = 0; family < 64; ++family)
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
      if (const int fd = socket(family, type, 0); fd >= 0) {
        std::printf("%d/%d/0\n", family, type);
        close(fd);
      }
  for (const int family : {AF_INET, AF_INET6})
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_DCCP, SOCK_PACKET})
      for (int protocol = 1; protocol < 300; ++protocol)
        if (const int fd = socket(family, type, protocol); fd >= 0) {
          std::printf("%d/%d/%d\n", family, type, protocol);
          close(fd);
        }
  for (int protocol = 0; protocol < 32; ++protocol)
    if (const int fd = socket(AF_NETLINK, SOCK_RAW, protocol); fd >= 0) {
      std::printf("netlink/%d\n", protocol);
      close(fd);
    }
  return 0;
}

/// One request to the kernel's network configuration that must be refused: a new address, link, route, or namespace id.
int change_network(const Arguments&) {
  const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  for (const auto& [name, kind] : std::map<std::string, unsigned short>{{"address", RTM_NEWADDR},
                                                                        {"link", RTM_NEWLINK},
                                                                        {"route", RTM_NEWROUTE},
                                                                        {"neighbour", RTM_NEWNEIGH},
                                                                        {"rule", RTM_NEWRULE},
                                                                        {"queue", RTM_NEWQDISC}}) {
    struct {
      nlmsghdr header{};
      ifinfomsg body{};
      char reply[4096] = {};
    } message;
    message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.body);
    message.header.nlmsg_type = kind;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    if (send(fd, &message, message.header.nlmsg_len, 0) < 0 ||
        recv(fd, &message, sizeof message, 0) < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) {
      attempt(name, -1);
      continue;
    }
    const auto* answer = static_cast<const nlmsgerr*>(NLMSG_DATA(&message.header));
    errno = -answer->error;
    attempt(name, answer->error == 0 ? 0 : -1);
  }
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  attempt("down", ioctl(any, SIOCSIFFLAGS, &request));
  char table[128] = {};
  attempt("iptables", setsockopt(any, SOL_IP, 64 /* IPT_SO_SET_REPLACE */, table, sizeof table));
  const int mark = 1;
  attempt("mark", setsockopt(any, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
  attempt("force_buffer", setsockopt(any, SOL_SOCKET, SO_RCVBUFFORCE, &mark, sizeof mark));
  return 0;
}

}  // namespace

const Victims& network_victims() {
  static const Victims victims = {
      {"reach", reach},
      {"socket_kinds", socket_kinds},
      {"change_network", change_network},
  };
  return victims;
}
