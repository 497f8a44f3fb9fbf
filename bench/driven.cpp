#include "bench/driven.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "bench/rig.h"

namespace bailiff::bench {
namespace {

void serve(int go, int done, const std::function<std::function<void()>()>& make) {
  const auto job = make();
  for (char byte = 0; read(go, &byte, 1) == 1;) {
    const auto start = std::chrono::steady_clock::now();
    job();
    const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (write(done, &took, sizeof took) != sizeof took) return;
  }
}

}  // namespace

void pin_to(int cpu) {
  if (cpu == kAnyCpu) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) give_up("cannot pin to CPU " + std::to_string(cpu));
}

Driven::Driven(int cpu, const std::function<std::function<void()>()>& make) {
  int to[2], from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) give_up("no pipe");
  process_ = fork();
  if (process_ < 0) give_up("no process");
  if (process_ == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    close(to[1]);
    close(from[0]);
    pin_to(cpu);
    serve(to[0], from[1], make);
    _exit(0);
  }
  close(to[0]);
  close(from[1]);
  go_ = core::Fd(to[1]);
  done_ = core::Fd(from[0]);
}

Driven::~Driven() {
  go_.reset();
  (void)waitpid(process_, nullptr, 0);
}

double Driven::run() const {
  double took = 0;
  if (write(go_.get(), "g", 1) != 1 || read(done_.get(), &took, sizeof took) != sizeof took) give_up("a subject has ended");
  return took;
}

}  // namespace bailiff::bench
