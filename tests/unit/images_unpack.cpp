// The archive of a job, read by the real worker behind its walls.
#include "images/archive_unpack.h"
#include "tests/unit/images_archives.h"

namespace bailiff::images::testing {
namespace {

core::Fd memfd_of(const std::string& bytes) {
  core::Fd fd(::memfd_create("archive", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

core::Result<UnpackedArchive> unpack(const std::string& bytes, UnpackBounds bounds = {64 << 20, 1000}) {
  const auto worker = ImportWorker::find();
  if (!worker) return std::unexpected(worker.error());
  return unpack_archive(*worker, memfd_of(bytes).get(), bounds);
}

std::string data_of(const UnpackedArchive& archive, const std::string& path) {
  for (const auto& entry : archive.entries) {
    if (entry.path != path) continue;
    std::string bytes(entry.data.size, '\0');
    EXPECT_EQ(::pread(archive.bytes.get(), bytes.data(), bytes.size(), static_cast<off_t>(entry.data.offset)),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  return "not there";
}

/// "a/ a/b* a/c->d", in order.
std::string listing(const UnpackedArchive& archive) {
  std::string text;
  for (const auto& entry : archive.entries) {
    text += (text.empty() ? "" : " ") + entry.path + (entry.executable ? "*" : "");
    if (entry.kind == FileNode::Kind::directory) text += "/";
    if (entry.kind == FileNode::Kind::symlink) text += "->" + entry.target;
  }
  return text;
}

template <class Archive>
std::string project(Archive&& archive) {
  return archive.directory("src")
      .file("src/main.c", "int main;")
      .file("build.sh", "#!", 0755)
      .symlink("link", "/etc/x")
      .file("dev/notes", "n")
      .finish();
}

TEST(Unpack, TarAndZipOfEveryPacking) {
  for (const char* filter : {"none", "gzip", "bzip2", "xz", "zstd"}) {
    const auto unpacked = unpack(project(Tar(filter)));
    ASSERT_TRUE(unpacked) << filter << ": " << unpacked.error().what;
    EXPECT_EQ(listing(*unpacked), "build.sh* dev/ dev/notes link->/etc/x src/ src/main.c") << filter;
    EXPECT_EQ(data_of(*unpacked, "src/main.c"), "int main;") << filter;
  }
  const auto unpacked = unpack(project(Tar("zip")));
  ASSERT_TRUE(unpacked) << unpacked.error().what;
  EXPECT_EQ(listing(*unpacked), "build.sh* dev/ dev/notes link->/etc/x src/ src/main.c");
  EXPECT_EQ(data_of(*unpacked, "src/main.c"), "int main;");
}

TEST(Unpack, NamesOfEveryLanguageAndOfNone) {
  const auto named = unpack(Tar("zip").file("\xc3\xa4/\xe6\x97\xa5", "x").finish());
  ASSERT_TRUE(named) << named.error().what;
  EXPECT_EQ(listing(*named), "\xc3\xa4/ \xc3\xa4/\xe6\x97\xa5");
}

TEST(Unpack, RefusesWithTheReason) {
  struct Row {
    const char* what;
    std::string bytes;
    const char* reason;
  };
  const std::string whole_zip = project(Tar("zip"));
  const Row rows[] = {
      {"nothing", "", "neither"},
      {"noise", std::string(5000, 'x'), "neither"},
      {"tar cut short", Tar().file("a", std::string(3000, 'x')).finish().substr(0, 1500), ""},
      {"zip cut short", whole_zip.substr(0, whole_zip.size() / 2), ""},
      {"up", Tar().file("../x").finish(), "\"..\""},
      {"up in a zip", Tar("zip").file("a/../../x").finish(), "\"..\""},
      {"absolute", Tar().file("/etc/passwd").finish(), "absolute"},
      {"out by a link", Tar().symlink("out", "..").file("out/x").finish(), "leads out"},
      {"device", Tar().other("null", AE_IFCHR).finish(), "is a device"},
      {"too much", Tar("gzip").file("large", std::string(2 << 20, '\0')).finish(), "more than 1048576 bytes"},
  };
  for (const auto& row : rows) {
    const auto unpacked = unpack(row.bytes, {1 << 20, 1000});
    ASSERT_FALSE(unpacked) << row.what;
    EXPECT_EQ(unpacked.error().kind, core::ErrorKind::invalid) << row.what << ": " << unpacked.error().what;
    EXPECT_TRUE(unpacked.error().what.contains(row.reason)) << row.what << ": " << unpacked.error().what;
  }
  Tar links;
  links.file("a", std::string(300'000, 'x'));
  for (int i = 0; i < 4; ++i) links.hard_link("b" + std::to_string(i), "a");
  const auto linked = unpack(links.finish(), {1 << 20, 1000});
  ASSERT_FALSE(linked);
  EXPECT_TRUE(linked.error().what.contains("more than 1048576 bytes")) << linked.error().what;
  Tar many;
  for (int i = 0; i < 20; ++i) many.file("f" + std::to_string(i));
  const auto unpacked = unpack(many.finish(), {1 << 20, 10});
  ASSERT_FALSE(unpacked);
  EXPECT_TRUE(unpacked.error().what.contains("more than 10 entries")) << unpacked.error().what;
}

TEST(Unpack, WhatTakesTooLongIsRefused) {
  const auto unpacked = unpack(project(Tar()), {1 << 20, 1000, std::chrono::seconds(0)});
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().kind, core::ErrorKind::invalid);
  EXPECT_TRUE(unpacked.error().what.contains("takes longer than 0 s")) << unpacked.error().what;
}

TEST(Unpack, ALyingZipIsRefusedOrReadAsItIs) {
  const std::string whole = project(Tar("zip"));
  for (std::size_t at = 0; at < whole.size(); at += 3) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x5A);
    const auto unpacked = unpack(changed);
    const auto kind = unpacked ? core::ErrorKind::invalid : unpacked.error().kind;
    EXPECT_EQ(kind, core::ErrorKind::invalid) << at << ": " << unpacked.error().what;
  }
}

}  // namespace
}  // namespace bailiff::images::testing
