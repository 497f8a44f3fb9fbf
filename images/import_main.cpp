// bailiff-import: started by `bailiff image` and bailiffd with an archive, a spool and an image file as its descriptors. Not for people.
#include <fcntl.h>

#include <cstdio>

#include "images/import_worker.h"

#ifdef __SANITIZE_ADDRESS__
// Leaks are looked for by a process that traces this one, which its walls forbid.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main() {
  using namespace bailiff::images;
  if (::fcntl(kSpoolFd, F_GETFD) < 0 || ::fcntl(kImageFd, F_GETFD) < 0) {
    (void)std::fputs("bailiff-import is started by bailiffd or `bailiff image`; it does nothing on its own\n", stderr);
    return 64;
  }
  return run_import_worker();
}
