// What a program sees: itself, its image, its own files. Nothing of the host, of another job, of a network.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;
using Lines = std::multiset<std::string>;

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.insert(line);
  return lines;
}

TEST_F(SandboxTest, SeesOnlyItself) {
  EXPECT_EQ(attack({"list_pids"}).out, "0\n");
  EXPECT_EQ(attack({"environment"}).out, "PATH=/usr/bin:/bin\n");
  const auto identity = attack({"identity"}).out;
  EXPECT_EQ(identity.substr(0, identity.rfind(' ')), "uid 1000 gid 1000 pid 2 host bailiff domain bailiff cwd /work uptime");
  for (const auto& line : lines_of(attack({"print_file", "/proc/self/cgroup"}).out)) EXPECT_TRUE(line.ends_with(":/")) << line;
  std::istringstream uptimes(attack({"uptimes"}).out);
  int clocks = 0;
  for (long seconds = 0; uptimes >> seconds; ++clocks) EXPECT_LT(seconds, 5);
  EXPECT_EQ(clocks, 5);
}

TEST_F(SandboxTest, InheritsThreeDescriptorsOnly) {
  EXPECT_EQ(attack({"describe_fds"}).out, "0 device - both\n1 pipe - write\n2 pipe - write\n");
  auto request = victim({"describe_fds"});
  request.stdin_fd = std::move(*sealed_memfd("input"));
  EXPECT_EQ(run(std::move(request)).out, "0 file - read\n1 pipe - write\n2 pipe - write\n");
}

TEST_F(SandboxTest, HostProcessesAreNotThere) {
  EXPECT_EQ(attack({"signal_host_process", std::to_string(getpid())}).out,
            "kill: ESRCH\ntgkill: ESRCH\npidfd_open: ESRCH\ngetpgid: ESRCH\nsched_getscheduler: ESRCH\nsched_getaffinity: ESRCH\n"
            "prlimit64: ESRCH\nptrace: ESRCH\nproc: ENOENT\n");
}

TEST_F(SandboxTest, HostFilesAreNotThere) {
  std::vector<std::string> words = {"find_files", "/etc/shadow", "/root", "/var", "/sys", "/run"};
  std::vector<std::string> secrets;
  for (const char* directory : {"/tmp", "/root", "/var"}) {
    secrets.push_back(std::string(directory) + "/bailiff-secret." + std::to_string(getpid()));
    std::ofstream(secrets.back()) << "secret";
    ASSERT_TRUE(std::filesystem::exists(secrets.back()));
  }
  words.insert(words.end(), secrets.begin(), secrets.end());
  EXPECT_EQ(attack(words, Verdict::ok, [](core::Limits& limits) { limits.cpu_time_us = limits.wall_time_us = 60'000'000; }).out, "");
  for (const auto& secret : secrets) std::filesystem::remove(secret);
}

TEST_F(SandboxTest, OnlyItsOwnDirectoriesAreWritable) {
  const auto ran = attack({"find_writable", "3"}, Verdict::ok, [](core::Limits& limits) { limits.wall_time_us = 60'000'000; });
  EXPECT_EQ(lines_of(ran.out), (Lines{"/work", "/tmp", "/dev/shm"}));
}

TEST_F(SandboxTest, DevicesAreSixAndTerminalsOfItsOwn) {
  EXPECT_EQ(lines_of(attack({"list_nodes", "/dev"}).out),
            (Lines{"null c 1:3", "zero c 1:5", "full c 1:7", "random c 1:8", "urandom c 1:9", "tty c 5:0", "pts d 0:0", "shm d 0:0",
                   "ptmx l 0:0", "fd l 0:0", "stdin l 0:0", "stdout l 0:0", "stderr l 0:0"}));
  EXPECT_EQ(attack({"list_nodes", "/dev/pts"}).out, "ptmx c 5:2\n");
}

TEST_F(SandboxTest, NothingOfAnEarlierStepIsSeen) {
  for (int i = 0; i < 6; ++i)
    for (unsigned slot_index = 0; slot_index < 2; ++slot_index) EXPECT_EQ(run(victim({"leave_marks"}), slot_index).out, "new\n") << i;
}

TEST_F(SandboxTest, NothingOfARunningNeighbourIsSeen) {
  auto holder = victim({"hold_marks"});
  holder.limits.wall_time_us = 60'000'000;
  holder.stdout_fd = std::move(*output_memfd());
  holder.stderr_fd = std::move(*output_memfd());
  ASSERT_TRUE(slot(0).start(holder));
  const auto said = [&] { return read_all(holder.stdout_fd.get()).value_or(""); };
  for (int tries = 0; tries < 5000 && !said().ends_with("held\n"); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(said(),
            "shm: ok\nmsg: ok\nsem: ok\nposix_shm: ok\nposix_mq: ok\nposix_sem: ok\nfile: ok\nwork_file: ok\nabstract: ok\npath: ok\n"
            "tcp: ok\nudp: ok\nheld\n");
  const std::string nothing =
      "shm: ENOENT\nmsg: ENOENT\nsem: ENOENT\nposix_shm: ENOENT\nposix_mq: ENOENT\nposix_sem: ENOENT\nfile: ENOENT\nwork_file: ENOENT\n"
      "abstract: ECONNREFUSED\npath: ENOENT\ntcp: ECONNREFUSED\nudp: ENOENT\n";
  EXPECT_EQ(attack({"seek_marks"}, Verdict::ok, {}, 1).out, nothing);
  ASSERT_TRUE(slot(0).cancel());
  ASSERT_TRUE(slot(0).finish());
  EXPECT_EQ(attack({"seek_marks"}, Verdict::ok, {}, 0).out, nothing);
}

/// The host's own addresses, and a port of it that somebody listens at.
std::vector<std::string> host_addresses() {
  std::vector<std::string> addresses;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return addresses;
  for (const auto* one = all; one != nullptr; one = one->ifa_next) {
    char text[INET6_ADDRSTRLEN] = {};
    const int family = one->ifa_addr != nullptr ? one->ifa_addr->sa_family : AF_UNSPEC;
    if (family == AF_INET) inet_ntop(family, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    if (text[0] != '\0' && std::string_view(text).substr(0, 4) != "127.") addresses.emplace_back(text);
  }
  freeifaddrs(all);
  return addresses;
}

TEST_F(SandboxTest, NoNetworkButItsOwnLoopback) {
  std::vector<std::string> words = {"reach",           "53",          "8.8.8.8",
                                    "10.0.0.1",        "192.168.1.1", "169.254.169.254",
                                    "100.100.100.200", "224.0.0.251", "2001:4860:4860::8888",
                                    "fd00:ec2::254"};
  for (const auto& address : host_addresses()) words.push_back(address);
  for (const auto& line : lines_of(attack(words).out)) EXPECT_TRUE(line.ends_with(": ENETUNREACH")) << line;

  const core::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), size) | listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const auto ran = attack({"reach", std::to_string(ntohs(name.sin_port)), "127.0.0.1", "0.0.0.0"});
  EXPECT_EQ(ran.out.find("tcp 127.0.0.1: ok"), ran.out.npos);
  ASSERT_EQ(fcntl(listener.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_LT(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), 0) << "somebody came out of the sandbox";
}

TEST_F(SandboxTest, SocketsOfAFewKindsOnly) {
  EXPECT_EQ(lines_of(attack({"socket_kinds"}).out), (Lines{"1/1/0", "1/2/0", "1/3/0", "1/5/0", "2/1/0", "2/2/0", "10/1/0", "10/2/0",
                                                           "16/2/0", "16/3/0", "2/1/6", "2/2/17", "10/1/6", "10/2/17", "netlink/0"}));
}

TEST_F(SandboxTest, TheNetworkCannotBeChanged) {
  const auto lines = lines_of(attack({"change_network"}).out);
  EXPECT_EQ(lines.size(), 10U);
  for (const auto& line : lines)
    EXPECT_TRUE(line.ends_with(": EPERM") || line == "iptables: ENOPROTOOPT") << line;  // no such tables: no such option
}

}  // namespace
}  // namespace bailiff::sandbox::testing
