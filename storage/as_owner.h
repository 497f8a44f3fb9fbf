#pragma once
// Another user's rights for a while: files of the server's directory are the server's, whoever touches them.
#include <sys/types.h>

namespace bailiff::storage {

/// Root becomes that user, for the file accesses of the whole process, until this goes; anybody else stays who he is.
class AsOwner {
 public:
  AsOwner(uid_t uid, gid_t gid);
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;
  ~AsOwner();
  /// The errno of what could not be changed; 0: nothing failed.
  [[nodiscard]] int failed() const { return failed_; }

 private:
  bool changed_ = false;
  int failed_ = 0;
};

}  // namespace bailiff::storage
