#pragma once
// bailiffd from start to end: brings everything up in the one right order, runs until a signal, drains.
//
// Theory of operation. As root: the data directory, the launcher, a handle on the language definitions. Then root is given up for good, and
// only then is anything opened that bytes from outside reach: the database, the definitions, the HTTP port. One thread runs the event loop;
// the store has its writer, and a small pool of threads works on large documents. The first SIGTERM or SIGINT drains, the second ends at
// once. A dead launcher ends bailiffd with an error: what ran is queued again at the next start.
#include "server/config.h"

namespace bailiff::server {

/// Returns the process's exit code. Call once, from main(), with a single thread.
int run_daemon(const Config& config);

}  // namespace bailiff::server
