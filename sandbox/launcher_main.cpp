// bailiff-launcher: started by bailiffd, `bailiff run`, bench and tests with its caller's socket as descriptor 3. Not for people.
#include <fcntl.h>
#include <sys/socket.h>

#include <cstdio>

#include "sandbox/launcher.h"

int main() {
  int type = 0;
  socklen_t size = sizeof type;
  const int socket = bailiff::sandbox::kLauncherSocket;
  if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    (void)std::fputs("bailiff-launcher is started by bailiffd or `bailiff run`; it does nothing on its own\n", stderr);
    return 64;
  }
  const int images = bailiff::sandbox::kImageSocket;
  if (fcntl(socket, F_SETFD, FD_CLOEXEC) != 0 || fcntl(images, F_SETFD, FD_CLOEXEC) != 0) return 1;
  return bailiff::sandbox::run_launcher(bailiff::core::Fd(socket), bailiff::core::Fd(images));
}
