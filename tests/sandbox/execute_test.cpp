// Files that are no programs, or not for this machine: each has an exit code and a reason, none is a failure of the sandbox.
#include <elf.h>

#include <csignal>
#include <cstring>

#include "tests/sandbox/fixture.h"

namespace bailiff::sandbox::testing {
namespace {

using core::Verdict;

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

template <typename Header>
Header elf_header(unsigned char elf_class, std::uint16_t machine) {
  Header header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = elf_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = machine;
  header.e_version = EV_CURRENT;
  header.e_phoff = header.e_ehsize = sizeof header;
  return header;
}

/// exit(0) by int 0x80, in a file with 32-bit headers.
std::string program_32(std::uint16_t machine) {
  constexpr std::uint32_t kBase = 0x08048000;
  auto header = elf_header<Elf32_Ehdr>(ELFCLASS32, machine);
  header.e_phentsize = sizeof(Elf32_Phdr);
  header.e_phnum = 1;
  header.e_entry = kBase + sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr);
  Elf32_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_vaddr = load.p_paddr = kBase;
  load.p_filesz = load.p_memsz = 256;
  load.p_flags = PF_R | PF_X;
  load.p_align = 4096;
  std::string all = bytes_of(header) + bytes_of(load) + std::string("\xb8\x01\0\0\0\x31\xdb\xcd\x80", 9);
  all.resize(256);
  return all;
}

std::string program_64(std::uint16_t machine, const std::string& interpreter = "", std::uint64_t headers_at = 0) {
  auto header = elf_header<Elf64_Ehdr>(ELFCLASS64, machine);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  if (headers_at != 0) header.e_phoff = headers_at;
  Elf64_Phdr interpreted{};
  interpreted.p_type = interpreter.empty() ? PT_LOAD : PT_INTERP;
  interpreted.p_offset = sizeof header + sizeof interpreted;
  interpreted.p_filesz = interpreted.p_memsz = interpreter.size() + 1;
  return bytes_of(header) + bytes_of(interpreted) + interpreter + std::string(64, '\0');
}

class ExecuteTest : public SandboxTest {
 protected:
  static Ran execute(const std::string& bytes, unsigned mode = 0755) {
    auto request = victim({});
    request.argv = {"./program", "exit", "0"};
    TreeWriter tree;
    EXPECT_TRUE(tree.add_file("program", bytes, mode));
    request.trees.push_back(std::move(*tree.finish()));
    auto ran = run(std::move(request));
    EXPECT_EQ(ran.verdict(), Verdict::runtime_error) << describe(ran);
    return ran;
  }
};

TEST_F(ExecuteTest, WhatCannotBeExecuted) {
  struct Row {
    const char* what;
    std::string bytes;
    unsigned mode;
    int exit_code;
  };
  const Row rows[] = {{"no x bit", "#!/bin/sh\n", 0644, 126},
                      {"no permission at all", "#!/bin/sh\n", 0000, 126},
                      {"empty", "", 0755, 126},
                      {"text without an interpreter", "hello\n", 0755, 126},
                      {"missing interpreter", "#!/no/such\n", 0755, 127},
                      {"interpreter is a directory", "#!/tmp\n", 0755, 126},
                      {"interpreter is the file itself", "#!/work/program\n", 0755, 126},
                      {"interpreter of 300 bytes", "#!/" + std::string(300, 'i') + "\n", 0755, 126},
                      {"truncated within the magic",
                       "\x7f"
                       "ELF",
                       0755, 126},
                      {"truncated within the header", program_64(EM_X86_64).substr(0, 40), 0755, 126},
                      {"headers beyond the end", program_64(EM_X86_64, "", 1 << 20), 0755, 126},
                      {"foreign architecture", program_64(EM_AARCH64), 0755, 126},
                      {"foreign 32-bit architecture", program_32(EM_ARM), 0755, 126},
                      {"missing ELF interpreter", program_64(EM_X86_64, "/no/such"), 0755, 127},
                      {"ELF interpreter is a directory", program_64(EM_X86_64, "/tmp"), 0755, 126}};
  for (const auto& row : rows) {
    const auto ran = execute(row.bytes, row.mode);
    EXPECT_EQ(ran.outcome().exit_code, row.exit_code) << row.what << describe(ran);
    EXPECT_NE(ran.outcome().message.find("cannot execute ./program"), std::string::npos) << row.what << describe(ran);
  }
  for (const auto& [path, exit_code] :
       std::map<std::string, int>{{"./missing", 127}, {"/tmp", 126}, {"missing", 127}, {"/work/victim/x", 126}}) {
    auto request = victim({});
    request.argv = {path};
    const auto ran = run(std::move(request));
    EXPECT_EQ(ran.outcome().exit_code, exit_code) << path << describe(ran);
  }
}

/// Where the kernel takes them at all, their first system call ends them.
TEST_F(ExecuteTest, ProgramsOfTheThirtyTwoBitKindsDoNotRun) {
  for (const std::uint16_t machine : {EM_386, EM_X86_64}) {
    const auto ran = execute(program_32(machine));
    if (ran.outcome().signal) EXPECT_EQ(ran.outcome().signal, SIGSYS) << describe(ran);
    else EXPECT_EQ(ran.outcome().exit_code, 126) << describe(ran);
  }
}

TEST_F(ExecuteTest, AProgramWhoseCodeIsNotInTheFileIsKilled) {
  const std::string bytes = program_64(EM_X86_64, "").replace(offsetof(Elf64_Ehdr, e_entry), 8, bytes_of(std::uint64_t{0x400000}));
  const auto ran = execute(bytes);
  EXPECT_TRUE(ran.outcome().signal || ran.outcome().exit_code == 126) << describe(ran);
}

}  // namespace
}  // namespace bailiff::sandbox::testing
