#include "cli/key.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <future>

#include "cli/render.h"
#include "core/clock.h"
#include "storage/as_owner.h"
#include "storage/store.h"

namespace bailiff::cli {
namespace {

using core::Json;

Expected<ExitCode> print(const Stream& stream, std::string_view text) {
  if (auto written = stream.write(text); !written) return failure(kExitInternal, "cannot write the output: " + written.error().what);
  return kExitOk;
}

std::string dump(const Json& document) { return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::vector<std::string> scopes_of(const KeyOptions& options) {
  return options.scopes.empty() ? std::vector<std::string>{"submit", "read"} : options.scopes;
}

std::unexpected<Failure> failure_of(const core::Error& error, const KeyOptions& options) {
  if (error.kind == core::ErrorKind::conflict || error.kind == core::ErrorKind::unavailable)
    return failure(kExitUnavailable, error.what,
                   "a server that runs makes keys itself: leave --data out, with BAILIFF_API_KEY set; or stop it");
  return failure(kExitNoInput, error.what, fmt::format("run it by sudo, or as the owner of {}", options.data));
}

Expected<storage::NewAccessKey> store_key(const KeyOptions& options) {
  struct stat directory{};
  if (::lstat(options.data.c_str(), &directory) != 0 || !S_ISDIR(directory.st_mode))
    return failure(kExitNoInput, options.data + " is no directory",
                   "--data names the server's directory; bailiffd makes it when it starts");
  auto made = storage::make_access_key();
  if (!made) return failure_of(made.error(), options);
  auto& key = made->key;
  key.name = options.name;
  key.weight = options.bounds.weight;
  for (const auto& bound : storage::kKeyBounds) key.*bound.member = options.bounds.*bound.member;
  key.created_us = core::unix_us();
  for (const auto& scope : scopes_of(options))
    for (const auto& [name, member] : storage::kKeyScopeNames)
      if (scope == name) key.scopes.*member = true;
  const storage::AsOwner owner(directory.st_uid, directory.st_gid);
  if (owner.failed() != 0) return failure(kExitNoPermission, "cannot become the owner of " + options.data);
  storage::Options opening;
  opening.path = (std::filesystem::path(options.data) / storage::kDatabaseName).string();
  auto store = storage::Store::open(opening);
  if (!store) return failure_of(store.error(), options);
  auto known = (*store)->keys();
  if (!known) return failure_of(known.error(), options);
  if (known->empty() && !key.scopes.admin) return failure(kExitUsage, "the first key must have the scope admin", "--scope admin");
  std::promise<core::Status> added;
  (*store)->add_key(key, [&](core::Status status) { added.set_value(std::move(status)); });
  const auto status = added.get_future().get();
  (*store)->close();
  if (!status) return failure_of(status.error(), options);
  return std::move(*made);
}

Expected<ExitCode> print_new(const KeyOptions& options, const std::string& id, const std::string& text, const Console& console) {
  if (options.server.json) return print(console.out, dump({{"id", id}, {"name", core::to_utf8(options.name)}, {"key", text}}));
  if (auto printed = print(console.out, text + "\n"); !printed) return printed;
  return print(console.err, fmt::format("key {}: kept nowhere but here; `bailiff` takes it from BAILIFF_API_KEY\n", id));
}

std::string member(const Json& object, const char* name) {
  const auto& value = object.contains(name) ? object[name] : Json();
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump();
}

}  // namespace

Expected<ExitCode> create_key(const KeyOptions& options, const Console& console) {
  if (!options.data.empty()) {
    auto made = store_key(options);
    if (!made) return std::unexpected(std::move(made.error()));
    return print_new(options, made->key.id, made->text, console);
  }
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  Json wish = {{"name", core::to_utf8(options.name)}, {"scopes", scopes_of(options)}, {"weight", options.bounds.weight}};
  for (const auto& bound : storage::kKeyBounds)
    if (options.bounds.*bound.member != 0) wish[bound.name] = options.bounds.*bound.member;
  auto made = client->json({.method = "POST", .path = "/v1/keys", .body = wish.dump()});
  if (!made) return std::unexpected(std::move(made.error()));
  return print_new(options, member(*made, "id"), member(*made, "key"), console);
}

/// "120 of 500"
std::string use_of(const Json& key, const char* use, const char* bound) {
  const auto now = key.value(use, Json()).is_number() ? fmt::format("{:.0f}", key[use].get<double>()) : std::string("-");
  const auto most = member(key, bound);
  return most == "-" ? now : now + " of " + most;
}

Expected<ExitCode> list_keys(const KeyOptions& options, const Console& console) {
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  const auto keys = client->json({.path = "/v1/keys"});
  if (!keys) return std::unexpected(keys.error());
  if (options.server.json) return print(console.out, dump(*keys));
  Table table;
  table.add({{"ID", Colour::bold},
             {"SCOPES", Colour::bold},
             {"WEIGHT", Colour::bold},
             {"QUEUED", Colour::bold},
             {"RUNNING", Colour::bold},
             {"STORED", Colour::bold},
             {"CPU MS/H", Colour::bold},
             {"STATE", Colour::bold},
             {"NAME", Colour::bold}});
  for (const auto& key : keys->value("items", Json::array())) {
    std::string scopes;
    for (const auto& scope : key.value("scopes", Json::array())) scopes += (scopes.empty() ? "" : ",") + scope.get<std::string>();
    const bool revoked = member(key, "revoked_at") != "-";
    table.add({{member(key, "id")},
               {scopes},
               {member(key, "weight")},
               {member(key, "max_queued_jobs")},
               {member(key, "max_running_jobs")},
               {use_of(key, "stored_bytes", "max_stored_bytes")},
               {use_of(key, "cpu_ms_this_hour", "max_cpu_ms_per_hour")},
               {revoked ? "revoked" : "good", revoked ? Colour::dim : Colour::green},
               {member(key, "name")}});
  }
  return print(console.out, table.render(console.out.paint()));
}

Expected<ExitCode> revoke_key(const KeyOptions& options, const Console& console) {
  auto client = client_of(options.server);
  if (!client) return std::unexpected(std::move(client.error()));
  const auto answer = client->exchange({.method = "DELETE", .path = "/v1/keys/" + percent_encode(options.id)});
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 204) return std::unexpected(failure_of_answer(*answer));
  return print(console.err, fmt::format("key {} is revoked\n", sanitise_line(options.id)));
}

}  // namespace bailiff::cli
