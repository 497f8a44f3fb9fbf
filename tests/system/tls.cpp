// HTTPS by bailiffd itself, with the real client: requests, a WebSocket, a renewed certificate.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/system/cli_process.h"
#include "tests/unit/server_self_signed.h"

namespace bailiff::system_tests {
namespace {

using server::testing::SelfSigned;
namespace fs = std::filesystem;

class TlsSystemTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (IsSkipped()) return;
    std::string pattern = ::testing::TempDir() + "bailiff-tls-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    files_ = pattern;
    ASSERT_EQ(::chmod(files_.c_str(), 0755), 0);
    write(SelfSigned("IP:127.0.0.1"));
    trust_written();
  }
  void TearDown() override {
    ::unsetenv("SSL_CERT_FILE");
    CliTest::TearDown();
    fs::remove_all(files_);
  }
  [[nodiscard]] std::string certificate() const { return files_ + "/certificate.pem"; }
  [[nodiscard]] std::string key() const { return files_ + "/key.pem"; }
  void write(const SelfSigned& identity) const {
    std::ofstream(certificate()) << identity.certificate;
    std::ofstream(key()) << identity.key;
    EXPECT_EQ(::chown(key().c_str(), 65534, 65534), 0);
    EXPECT_EQ(::chmod(key().c_str(), 0600), 0);
  }
  /// By the clients that are started from now on.
  void trust_written() const {
    fs::copy_file(certificate(), files_ + "/trusted.pem", fs::copy_options::overwrite_existing);
    ::setenv("SSL_CERT_FILE", (files_ + "/trusted.pem").c_str(), 1);
  }

 private:
  std::string files_;
};

TEST_F(TlsSystemTest, JobsTerminalsAndARenewedCertificate) {
  start({"--slots", "2", "--user", "65534:65534", "--tls-certificate", certificate(), "--tls-key", key()});
  ASSERT_TRUE(server_->listening());
  EXPECT_TRUE(server_->url().starts_with("https://127.0.0.1:")) << server_->url();
  const std::string program = certificate() + ".sh";
  std::ofstream(program) << "read line; echo \"got $line\"\n";
  const std::vector<std::string> interactive = {"submit", "-i", program};
  const auto attached = cli(interactive, "over a WebSocket\n");
  EXPECT_EQ(attached.code, 0) << attached.out;
  EXPECT_NE(attached.out.find("got over a WebSocket"), std::string::npos) << attached.out;

  write(SelfSigned("IP:127.0.0.1"));
  EXPECT_EQ(cli({"languages"}).code, 0);  // not read again yet
  server_->signal(SIGHUP);
  ASSERT_TRUE(eventually([&] { return log_text().find("certificate read again") != std::string::npos; }));
  const auto distrusted = cli({"languages"});
  EXPECT_NE(distrusted.code, 0);
  EXPECT_NE(distrusted.out.find("certificate"), std::string::npos) << distrusted.out;
  trust_written();
  const auto trusted = cli({"languages"});
  EXPECT_EQ(trusted.code, 0) << trusted.out;
  EXPECT_EQ(cli(interactive, "again\n").code, 0);
}

}  // namespace
}  // namespace bailiff::system_tests
