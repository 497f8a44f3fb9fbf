#pragma once
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace bailiff::server::testing {

/// A certificate that its own key signed, for one host name or IP address ("IP:127.0.0.1").
struct SelfSigned {
  explicit SelfSigned(const std::string& subject, const std::string& kind = "EC") {
    EVP_PKEY* made_key = kind == "RSA" ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> pair(made_key, &EVP_PKEY_free);
    const std::unique_ptr<X509, void (*)(X509*)> made(X509_new(), &X509_free);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -86'400);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 86'400);
    X509_set_pubkey(made.get(), pair.get());
    X509_NAME* name = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("receiver"), -1, -1, 0);
    X509_set_issuer_name(made.get(), name);
    for (const auto& [extension_kind, value] :
         {std::pair{NID_subject_alt_name, subject}, {NID_basic_constraints, std::string("critical,CA:TRUE")}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, extension_kind, value.c_str());
      X509_add_ext(made.get(), extension, -1);
      X509_EXTENSION_free(extension);
    }
    EXPECT_GT(X509_sign(made.get(), pair.get(), EVP_sha256()), 0);
    certificate = pem([&](BIO* out) { return PEM_write_bio_X509(out, made.get()); });
    key = pem([&](BIO* out) { return PEM_write_bio_PrivateKey(out, pair.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }
  std::string certificate, key;  // PEM

 private:
  template <class Write>
  static std::string pem(Write write) {
    const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new(BIO_s_mem()), &BIO_free);
    EXPECT_EQ(write(memory.get()), 1);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
  }
};

}  // namespace bailiff::server::testing
