#pragma once
// `bailiff-import`: the process in which archives of strangers are read, so that neither a bomb nor a flaw of a parser costs more than this
// process. It has an input, a spool and an output, all open before the first byte is read, and from then on no other file, no network, no
// further process: ids of nobody's, no_new_privs, bounds on memory and CPU time, and a seccomp allow-list of what reading, writing and
// memory need.
#include <cstdint>
#include <string>

#include "images/file_tree.h"

namespace bailiff::images {

/// The worker's descriptors beside 0 (the archive: a file, a pipe, or the directory of an OCI layout) and 1 (where it says what it found).
inline constexpr int kSpoolFd = 3, kImageFd = 4;

/// Bytes that a worker may say at most.
inline constexpr std::size_t kMaxWorkerAnswerBytes = 4 << 20;

/// Reads descriptor 0, writes the EROFS image to kImageFd, and prints one JSON document: {"bytes", "env", "workdir", "entrypoint",
/// "source", "notes"} or {"kind", "error"}. The exit code: 0 where the document was written.
int run_import_worker();

/// The other job of the same process: reads descriptor 0, an archive that a job brings, puts the bytes of its files into the spool, and
/// prints {"files": [[kind, path, executable, target, offset, bytes], …]} or {"kind", "error"}.
int run_unpack_worker(std::uint64_t bytes, std::uint64_t entries);

/// The document for the archive, file or directory at `input`, as run_import_worker() prints it. Without the walls: for tests.
std::string import_document(int input, int spool, int image, const ImportBounds& bounds);

}  // namespace bailiff::images
