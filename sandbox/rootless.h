#pragma once
// What running without root would take, and what of it this host gives. The launcher needs root: device nodes cannot be made, nor device
// programs be tied to groups, in a user namespace, whatever the host allows. So nothing here starts anything; it tells the truth to whom
// root is not given.
#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/client.h"

namespace bailiff::sandbox {

/// Who would run it.
struct Account {
  uid_t uid;
  std::string name;  // empty: no entry in the user database
};
[[nodiscard]] Account this_account();

/// One Capability for each need; none is required. `root` as in probe_host().
std::vector<Capability> probe_rootless(const Account& account, const std::string& root = "");
/// One line from those: what the host lacks, or that it lacks nothing and the launcher needs root all the same.
[[nodiscard]] std::string rootless_verdict(const std::vector<Capability>& needs);

}  // namespace bailiff::sandbox
