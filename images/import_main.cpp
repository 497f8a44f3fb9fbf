// bailiff-import: started by `bailiff image` and bailiffd with an archive, a spool and an image file as its descriptors. Not for people.
#include <fcntl.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "images/import_worker.h"

#ifdef __SANITIZE_ADDRESS__
// Leaks are looked for by a process that traces this one, which its walls forbid.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main(int argc, char** argv) {
  using namespace bailiff::images;
  // "unpack BYTES ENTRIES"
  if (argc == 4 && std::strcmp(argv[1], "unpack") == 0 && ::fcntl(kSpoolFd, F_GETFD) >= 0)
    return run_unpack_worker(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
  if (::fcntl(kSpoolFd, F_GETFD) < 0 || ::fcntl(kImageFd, F_GETFD) < 0) {
    (void)std::fputs("bailiff-import is started by bailiffd or `bailiff image`; it does nothing on its own\n", stderr);
    return 64;
  }
  return run_import_worker();
}
