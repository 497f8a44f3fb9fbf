#pragma once
// The tables, as a list of migrations: PRAGMA user_version counts those that a database has.
#include "storage/connection.h"

namespace bailiff::storage {

/// The schema that this program reads and writes.
[[nodiscard]] int schema_version();
/// What makes schema `version` of the one before it, from 1.
[[nodiscard]] const char* migration(int version);

/// Refuses a database that is damaged, not Bailiff's, or of a newer schema (invalid, with the reason); else sets the connection up for
/// writing (WAL, synchronous=FULL, foreign keys) and applies the migrations that are missing, all or none.
core::Status prepare_database(Connection& connection, const std::string& path);

/// Refuses a database that is not Bailiff's, is empty, or is of a newer schema (invalid, with the reason).
core::Status check_ours(Connection& connection, const std::string& path);

}  // namespace bailiff::storage
