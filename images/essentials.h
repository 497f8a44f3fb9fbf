#pragma once
// What every imported or built image has in its /etc, whatever it came with: names that do not depend on the machine it was made on, and
// the user as which programs run.
#include "core/result.h"
#include "images/archive.h"
#include "images/file_tree.h"

namespace bailiff::images {

/// Sets hosts, hostname and resolv.conf, removes machine-id, and adds uid and gid 1000 to passwd and group where they lack them.
core::Status add_essentials(FileTree& tree, Spool& spool);

}  // namespace bailiff::images
