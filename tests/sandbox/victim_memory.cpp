// Memory of every kind that a program can make the kernel hold for it: name MIB. Each exits with 0 when it has as much as it was told.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tests/sandbox/victims.h"

namespace {

constexpr std::size_t kArrayBytes = 192 * kMiB;
char static_array[kArrayBytes];  // in .bss: costs nothing until it is touched

int use_static_array(const Arguments& arguments) {
  touch(static_array, number(arguments) * kMiB);
  return 0;
}

int allocate_in_pieces(const Arguments& arguments) {
  constexpr std::size_t kPiece = 64 << 10;
  for (std::size_t have = 0; have < number(arguments) * kMiB; have += kPiece) touch(std::malloc(kPiece), kPiece);
  return 0;
}

int map_shared(const Arguments& arguments) {
  const std::size_t bytes = number(arguments) * kMiB;
  touch(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), bytes);
  return 0;
}

/// Has KIB of its own and goes round in a file for ever: "thrash KIB FILE".
int thrash(const Arguments& arguments) {
  const std::size_t bytes = number(arguments) << 10;
  touch(std::malloc(bytes), bytes);
  const int file = open(arguments.at(1).c_str(), O_RDONLY);
  struct stat status{};
  if (file < 0 || fstat(file, &status) != 0) return 1;
  const auto size = static_cast<std::size_t>(status.st_size);
  const auto* pages = static_cast<volatile char*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0));
  for (std::size_t at = 0;; at = (at + 4096) % size) (void)pages[at];
}

/// Uses as much of its stack as it is told, a page a call.
int use_stack(std::size_t bytes) {
  volatile char frame[4096];
  frame[0] = 1;
  return bytes > sizeof frame ? use_stack(bytes - sizeof frame) + frame[0] - 1 : 0;
}

/// Address space alone, as a program that sizes its tables for the worst case takes it.
int reserve_writable(const Arguments& arguments) {
  const std::size_t bytes = number(arguments) * kMiB;
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED ? 1 : 0;
}

/// Reads of memory that nobody wrote are answered from the kernel's one page of zeros.
int read_untouched(const Arguments& arguments) {
  const std::size_t bytes = number(arguments) * kMiB;
  const auto* memory = static_cast<volatile char*>(mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  char sum = 0;
  for (std::size_t at = 0; at < bytes; at += 4096) sum = static_cast<char>(sum + memory[at]);
  return sum;
}

/// One page of page table for each 2 MiB that are looked at.
int page_tables(const Arguments& arguments) {
  constexpr std::size_t kReach = 2 * kMiB;
  const std::size_t tables = number(arguments) * kMiB / 4096;
  auto* memory = static_cast<char*>(mmap(nullptr, tables * kReach, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED) return 1;
  (void)madvise(memory, tables * kReach, MADV_NOHUGEPAGE);
  char sum = 0;
  for (std::size_t i = 0; i < tables; ++i) sum = static_cast<char>(sum + *static_cast<volatile char*>(memory + i * kReach));
  return sum;
}

int posix_shared_memory(const Arguments& arguments) {
  const std::size_t bytes = number(arguments) * kMiB;
  const int fd = shm_open("/big", O_CREAT | O_RDWR, 0600);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) return 1;
  touch(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), bytes);
  return 0;
}

/// In segments that nobody is attached to any more.
int system_v_shared_memory(const Arguments& arguments) {
  constexpr std::size_t kSegment = 4 * kMiB;
  for (std::size_t have = 0; have < number(arguments) * kMiB; have += kSegment) {
    const int id = shmget(IPC_PRIVATE, kSegment, IPC_CREAT | 0600);
    void* memory = id < 0 ? nullptr : shmat(id, nullptr, 0);
    if (id < 0 || memory == reinterpret_cast<void*>(-1)) return 1;
    touch(memory, kSegment);
    shmdt(memory);
  }
  return 0;
}

int system_v_messages(const Arguments& arguments) {
  struct {
    long type = 1;
    char text[8000] = {};
  } message;
  for (std::size_t sent = 0; sent < number(arguments) * kMiB;) {
    const int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    if (id < 0) return 1;
    while (msgsnd(id, &message, sizeof message.text, IPC_NOWAIT) == 0) sent += sizeof message.text;
  }
  return 0;
}

int system_v_semaphores(const Arguments& arguments) {
  constexpr int kInASet = 8000;
  constexpr std::size_t kLeastBytesOfOne = 64;
  for (std::size_t have = 0; have < number(arguments) * kMiB; have += kInASet * kLeastBytesOfOne)
    if (semget(IPC_PRIVATE, kInASet, IPC_CREAT | 0600) < 0) return 1;
  return 0;
}

/// Fills pairs of descriptors until there are no more, then goes on in a child, until `bytes` are held in all.
template <typename MakePair>
int fill_in_children(std::size_t bytes, MakePair make_pair) {
  static char block[64 << 10];
  int shared[2];
  if (pipe(shared) != 0) return 1;
  while (true) {
    int ends[2];
    std::size_t held = 0;
    while (held < bytes && make_pair(ends) == 0) {
      (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
      std::size_t in_this = 0;
      for (std::size_t size = sizeof block; size > 0; size /= 2)
        for (ssize_t n; in_this < 16 * kMiB && (n = write(ends[1], block, size)) > 0;) in_this += static_cast<std::size_t>(n);
      if (in_this == 0) break;
      held += in_this;
    }
    bytes -= std::min(bytes, held);
    if (bytes == 0) break;
    if (held == 0) return 2;
    const pid_t child = fork();
    if (child < 0) return 3;
    if (child > 0) {
      int status = 0;
      waitpid(child, &status, 0);
      return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
    }
    for (int fd = 3; fd < 4096; ++fd) close(fd);  // the parent goes on holding them
  }
  return 0;
}

int fill_pipes(const Arguments& arguments) {
  return fill_in_children(number(arguments) * kMiB, [](int* ends) {
    const int made = pipe(ends);
    if (made == 0) (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    return made;
  });
}

int fill_unix_sockets(const Arguments& arguments) {
  return fill_in_children(number(arguments) * kMiB, [](int* ends) {
    const int made = socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    const int size = 16 << 20;
    if (made == 0) (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return made;
  });
}

/// Two ends of a connection over the sandbox's own loopback.
int connected_pair(int type, int* ends) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* name = reinterpret_cast<sockaddr*>(&address);
  const int listener = socket(AF_INET, type, 0);
  ends[1] = socket(AF_INET, type, 0);
  if (listener < 0 || ends[1] < 0 || bind(listener, name, size) != 0 || getsockname(listener, name, &size) != 0) return -1;
  const int bytes = 16 << 20;
  for (const int option : {SO_SNDBUF, SO_RCVBUF})
    for (const int fd : {listener, ends[1]}) (void)setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
  if (type == SOCK_DGRAM) {
    ends[0] = listener;
    return connect(ends[1], name, size);
  }
  if (listen(listener, 1) != 0 || connect(ends[1], name, size) != 0) return -1;
  ends[0] = accept(listener, nullptr, nullptr);
  close(listener);
  return ends[0] < 0 ? -1 : 0;
}

/// Memory files that are nowhere open: they are on their way through a socket that nobody reads.
int send_files_away(const Arguments& arguments) {
  constexpr std::size_t kFile = kMiB;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return 1;
  for (std::size_t sent = 0; sent < number(arguments) * kMiB; sent += kFile) {
    const int file = memfd_create("away", 0);
    if (file < 0 || ftruncate(file, kFile) != 0) return 1;
    void* memory = mmap(nullptr, kFile, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    touch(memory, kFile);
    munmap(memory, kFile);
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof file)] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(header), &file, sizeof file);
    // Ten wait in the queue at the most, so a socket of its own takes each few.
    if (sendmsg(ends[0], &message, MSG_DONTWAIT) != 1) {
      if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 || sendmsg(ends[0], &message, MSG_DONTWAIT) != 1) return 2;
    }
    close(file);
  }
  return 0;
}

/// As much of the image's files as it is told, by reading them: the kernel keeps what was read, and may forget it again.
std::size_t read_files_below(const std::string& directory, std::size_t bytes) {
  static char block[256 << 10];
  std::size_t done = 0;
  DIR* stream = opendir(directory.c_str());
  while (const dirent* entry = stream != nullptr && done < bytes ? readdir(stream) : nullptr) {
    const std::string path = directory + "/" + entry->d_name;
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') done += read_files_below(path, bytes - done);
    const int fd = entry->d_type == DT_REG ? open(path.c_str(), O_RDONLY) : -1;
    for (ssize_t n; fd >= 0 && done < bytes && (n = read(fd, block, sizeof block)) > 0;) done += static_cast<std::size_t>(n);
    if (fd >= 0) close(fd);
  }
  if (stream != nullptr) closedir(stream);
  return done;
}

/// A child is too greedy; its parent does not mind and ends well.
int greedy_child(const Arguments& arguments) {
  if (fork() == 0) {
    touch(std::malloc(number(arguments) * kMiB), number(arguments) * kMiB);
    _exit(0);
  }
  wait(nullptr);
  return 0;
}

/// Many that are small each: COUNT of MIB.
int many_small(const Arguments& arguments) {
  int done[2];
  if (pipe(done) != 0) return 1;
  for (std::size_t i = 0; i < number(arguments); ++i)
    if (fork() == 0) {
      touch(std::malloc(number(arguments, 1) * kMiB), number(arguments, 1) * kMiB);
      (void)!write(done[1], "x", 1);
      pause();
    }
  char byte = 0;
  for (std::size_t i = 0; i < number(arguments); ++i) (void)!read(done[0], &byte, 1);
  return 0;
}

/// Pages of the host's reserve of huge ones, which no memory group counts.
int huge_pages(const Arguments&) {
  constexpr std::size_t kBytes = 2 * kMiB;
  attempt("memfd_create", memfd_create("huge", MFD_HUGETLB));
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  attempt("mmap", memory == MAP_FAILED ? -1 : 0);
  attempt("shmget", shmget(IPC_PRIVATE, kBytes, IPC_CREAT | SHM_HUGETLB | 0600));
  return 0;
}

}  // namespace

const Victims& memory_victims() {
  static const Victims victims = {
      {"static_array", use_static_array},
      {"allocate_in_pieces", allocate_in_pieces},
      {"map_shared", map_shared},
      {"use_stack", [](const Arguments& a) { return use_stack(number(a) * kMiB); }},
      {"reserve_writable", reserve_writable},
      {"read_untouched", read_untouched},
      {"page_tables", page_tables},
      {"posix_shared_memory", posix_shared_memory},
      {"system_v_shared_memory", system_v_shared_memory},
      {"system_v_messages", system_v_messages},
      {"system_v_semaphores", system_v_semaphores},
      {"fill_pipes", fill_pipes},
      {"fill_unix_sockets", fill_unix_sockets},
      {"fill_tcp",
       [](const Arguments& a) { return fill_in_children(number(a) * kMiB, [](int* e) { return connected_pair(SOCK_STREAM, e); }); }},
      {"fill_udp",
       [](const Arguments& a) { return fill_in_children(number(a) * kMiB, [](int* e) { return connected_pair(SOCK_DGRAM, e); }); }},
      {"send_files_away", send_files_away},
      {"read_image", [](const Arguments& a) { return read_files_below("/usr", number(a) * kMiB) >= number(a) * kMiB ? 0 : 1; }},
      {"thrash", thrash},
      {"greedy_child", greedy_child},
      {"many_small", many_small},
      {"huge_pages", huge_pages},
  };
  return victims;
}
