#pragma once
// Unpacking of file trees into a fresh workspace.
#include "sandbox/tree.h"

namespace bailiff::sandbox {

/// Makes the tree's entries below the directory `root`, owned by the caller's file-system user. Existing files are replaced. Runs inside
/// the sandbox with the program's own file-system rights, so that a hostile tree can do no more than the program itself. 0 or an errno.
int unpack_tree(int root, const TreeReader& tree);

}  // namespace bailiff::sandbox
