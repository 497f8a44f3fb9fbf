// Routes about API keys: make one, list them, revoke one; which one the caller has.
#include <fmt/core.h>

#include <algorithm>

#include "core/clock.h"
#include "server/api.h"
#include "server/api_fields.h"
#include "server/api_json.h"
#include "server/log.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;
using storage::AccessKey;

Json scopes_to_json(const storage::KeyScopes& scopes) {
  Json names = Json::array();
  for (const auto& [name, member] : storage::kKeyScopeNames)
    if (scopes.*member) names.push_back(name);
  return names;
}

Json bound_or_null(std::uint64_t bound) { return bound == 0 ? Json(nullptr) : Json(bound); }

Json key_to_json(const AccessKey& key, const storage::OwnerUse& use) {
  Json document = {{"id", key.id},
                   {"name", key.name},
                   {"scopes", scopes_to_json(key.scopes)},
                   {"weight", key.weight},
                   {"stored_bytes", use.stored_bytes},
                   {"cpu_ms_this_hour", static_cast<double>(use.cpu_us) / 1000},
                   {"created_at", core::iso8601_utc(key.created_us)},
                   {"revoked_at", key.revoked_us ? Json(core::iso8601_utc(*key.revoked_us)) : Json(nullptr)}};
  for (const auto& bound : storage::kKeyBounds) document[bound.name] = bound_or_null(key.*bound.member);
  return document;
}

storage::KeyScopes read_scopes(const nlohmann::json& value, const Path& at, Faults& faults) {
  storage::KeyScopes scopes;
  if (!check_list(value, storage::kKeyScopeNames.size(), at, faults)) return scopes;
  if (value.empty()) faults.add(at, "must have at least one scope");
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto* known = std::ranges::find_if(storage::kKeyScopeNames, [&](const auto& one) { return value[i] == one.name; });
    if (known == storage::kKeyScopeNames.end())
      faults.add(at.item(i), fmt::format("must be submit, read or admin, not {}", shown(value[i])));
    else scopes.*(known->member) = true;
  }
  return scopes;
}

std::expected<AccessKey, Problem> wished_key(const std::string& body) {
  auto parsed = parse_json(body);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  Faults faults;
  const Path root;
  const Path at_name = root.key("name"), at_scopes = root.key("scopes");
  Members members(parsed->value, root, faults);
  AccessKey key;
  const auto* name = members.find("name");
  if (name != nullptr) key.name = read_name(*name, at_name, faults).value_or("");
  else if (members.is_object()) faults.add(at_name, "must be given");
  const auto* scopes = members.find("scopes");
  if (scopes != nullptr) key.scopes = read_scopes(*scopes, at_scopes, faults);
  else if (members.is_object()) faults.add(at_scopes, "must be given");
  const auto read_count = [&](const char* member, std::uint64_t& into, std::int64_t most) {
    const Path at = root.key(member);
    if (const auto* value = members.find(member); value != nullptr && !value->is_null())
      into = static_cast<std::uint64_t>(read_integer(*value, 1, most, at, faults).value_or(1));
  };
  read_count("weight", key.weight, storage::kMostKeyWeight);
  for (const auto& bound : storage::kKeyBounds) read_count(bound.name, key.*bound.member, bound.most);
  members.refuse_others();
  auto all = std::move(parsed->duplicates);
  for (auto& fault : faults.take()) all.push_back(std::move(fault));
  if (all.empty()) return key;
  return std::unexpected(Problem{422, "the key has faults; each is listed with its place", std::move(all), {}});
}

// A braced list of temporaries stays out of the coroutine: g++ 12 does not compile all of them right.
Problem conflicting(const core::Error& error) { return {409, error.what, {}, {}}; }
Problem no_such_key() { return {404, "no key has this id", {}, {}}; }

}  // namespace

void log_act(const Caller& caller, const char* act, const std::string& what) {
  log_info("administrative act",
           {{"act", act}, {"what", what}, {"by", caller.key_id.empty() ? "anybody: there are no keys" : caller.key_id}});
}

void Api::add_key_routes() {
  router_.add({.method = "POST",
               .pattern = "/v1/keys",
               .scope = Scope::admin,
               .handler = [this](Call call) { return create_key(std::move(call)); },
               .takes_json = true});
  router_.add(
      {.method = "GET", .pattern = "/v1/keys", .scope = Scope::admin, .handler = [this](Call call) { return show_keys(std::move(call)); }});
  router_.add({.method = "GET", .pattern = "/v1/keys/self", .scope = Scope::read, .handler = [this](Call call) {
                 return show_own_key(std::move(call));
               }});
  router_.add({.method = "DELETE", .pattern = "/v1/keys/{id}", .scope = Scope::admin, .handler = [this](Call call) {
                 return revoke_key(std::move(call));
               }});
}

awaitable<Response> Api::create_key(Call call) {
  auto wish = wished_key(call.request.body);
  if (!wish) co_return problem_response(wish.error());
  auto made = co_await context_.access.create(std::move(*wish));
  if (!made && made.error().kind == core::ErrorKind::conflict) co_return problem_response(conflicting(made.error()));
  if (!made) co_return problem_response(problem_of(made.error(), "make a key"));
  log_act(call.caller, "key.create", made->key.id);
  Json document = key_to_json(made->key, {});
  document["key"] = made->text;
  Response response = json_response(201, document);
  response.headers.front().second = "no-store";
  co_return response;
}

Json Api::key_document(const AccessKey& key) const {
  return key_to_json(key, context_.store.use_of(key.id, core::unix_us()).value_or(storage::OwnerUse{}));
}

awaitable<Response> Api::show_keys(Call) {
  Json items = Json::array();
  for (const auto& key : context_.access.keys()) items.push_back(key_document(key));
  co_return json_response(200, {{"items", std::move(items)}, {"next_cursor", nullptr}});
}

awaitable<Response> Api::show_own_key(Call call) {
  const auto* key = context_.access.find(call.caller.key_id);
  Json document = {{"keys", context_.access.has_keys()}, {"key", nullptr}};
  if (key != nullptr) document["key"] = key_document(*key);
  co_return json_response(200, document);
}

awaitable<Response> Api::revoke_key(Call call) {
  const auto revoked = co_await context_.access.revoke(call.path_values[0]);
  if (!revoked && revoked.error().kind == core::ErrorKind::conflict) co_return problem_response(conflicting(revoked.error()));
  if (!revoked && revoked.error().kind == core::ErrorKind::not_found) co_return problem_response(no_such_key());
  if (!revoked) co_return problem_response(problem_of(revoked.error(), "revoke a key"));
  log_act(call.caller, "key.revoke", call.path_values[0]);
  co_return Response{204, {}, {}, {}, std::nullopt};
}

}  // namespace bailiff::server
