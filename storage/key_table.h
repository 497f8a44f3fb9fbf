#pragma once
// The table of API keys. Writes stand inside a transaction that the caller has begun; SQLite::Exception leaves these functions.
#include <cstdint>
#include <string>
#include <vector>

#include "storage/access_key.h"
#include "storage/connection.h"

namespace bailiff::storage {

class KeyTable {
 public:
  explicit KeyTable(Connection& connection) : connection_(connection) {}
  core::Status add(const AccessKey& key);
  core::Status revoke(const std::string& id, std::int64_t now_us);
  core::Result<std::vector<AccessKey>> all();

 private:
  Connection& connection_;
};

}  // namespace bailiff::storage
