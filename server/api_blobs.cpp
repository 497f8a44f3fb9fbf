// Routes about blobs: bringing one, asking for one.
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/clock.h"
#include "images/file_range.h"
#include "server/api.h"
#include "server/api_submission.h"
#include "server/async_result.h"
#include "server/blob_content.h"
#include "server/bytes_response.h"
#include "server/http_fields.h"

namespace bailiff::server {
namespace {

using boost::asio::awaitable;
using core::Json;

constexpr std::uint64_t kUploadPieceBytes = 1 << 20;  // in one write: what a job's own write may wait for

core::Result<std::uint64_t> size_of(const core::Fd& file) {
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return core::errno_error("look at an upload");
  return static_cast<std::uint64_t>(info.st_size);
}

core::Result<std::string> digest_of(const core::Fd& file, std::uint64_t size) {
  BlobDigest digest;
  const auto read = images::read_extent(file.get(), {0, size}, [&](std::string_view piece) -> core::Status {
    digest.add(piece);
    return {};
  });
  if (!read) return std::unexpected(read.error());
  return digest.text();
}

Json blob_json(const std::string& digest, std::uint64_t bytes) { return {{"digest", digest}, {"bytes", bytes}}; }

// Braced lists of temporaries stay out of coroutines: g++ 12 does not compile all of them right.
Problem no_such_blob() { return {404, "no blob has this digest", {}, {}}; }
Problem full_of_blobs() { return {503, "there is no room for another blob; unused ones go after a while", {}, {{"Retry-After", "600"}}}; }
Problem another_digest(const std::string& digest) {
  return {422, "the bytes have another digest: " + digest, {{"digest", "is not that of the body"}}, {}};
}

}  // namespace

void Api::add_blob_routes() {
  router_.add({.method = "POST",
               .pattern = "/v1/blobs",
               .scope = Scope::submit,
               .handler = [this](Call call) { return create_blob(std::move(call)); },
               .takes_file = true});
  router_.add({.method = "GET",
               .pattern = "/v1/blobs/sha256:{hex}",
               .scope = Scope::read,
               .handler = [this](Call call) { return show_blob(std::move(call)); },
               .media_type = "application/octet-stream"});
}

std::optional<Response> Api::fault_of_blob_upload(const Target& target) const {
  for (const auto& [name, value] : target.query)
    if (name != "digest" || !is_blob_digest(value) || target.query.size() > 1)
      return problem_response(422, "the query may have digest=sha256:<64 hexadecimal digits>, and nothing else");
  return std::nullopt;
}

awaitable<Response> Api::create_blob(Call call) {
  const auto file = call.request.body_file;
  const auto size = file != nullptr ? size_of(*file) : core::error(core::ErrorKind::internal, "no upload");
  if (!size) co_return problem_response(problem_of(size.error(), "receive a blob"));
  const auto find_digest = [&]() { return digest_of(*file, *size); };
  auto finding = offload(files_, find_digest);
  const auto digest = co_await std::move(finding);
  if (!digest) co_return problem_response(problem_of(digest.error(), "read a blob"));
  if (!call.query.empty() && call.query.front().second != *digest) co_return problem_response(another_digest(*digest));
  const std::string owner = call.caller.key_id;
  auto use = [this, &owner, &digest](auto done) { context_.store.use_blob(owner, *digest, core::unix_us(), std::move(done)); };
  const auto known = co_await from_callback<core::Result<bool>>(std::move(use));
  if (!known) co_return problem_response(problem_of(known.error(), "look for a blob"));
  if (!*known) {
    const auto quota = context_.jobs.exhausted(owner, *size);
    const bool full = quota == Quota::stored_bytes || quota == Quota::unknown;
    if (full) co_return problem_response(full_quota(quota));
    const auto stored = co_await store_blob(owner, *digest, *file, *size);
    if (!stored && stored.error().kind == core::ErrorKind::conflict) co_return problem_response(full_of_blobs());
    if (!stored) co_return problem_response(problem_of(stored.error(), "store a blob"));
  }
  Response response = json_response(*known ? 200 : 201, blob_json(*digest, *size));
  response.headers.emplace_back("Location", "/v1/blobs/" + *digest);
  co_return response;
}

/// In pieces, so that jobs' own writes come between. conflict: there is no room.
awaitable<core::Status> Api::store_blob(std::string owner, std::string digest, const core::Fd& file, std::uint64_t size) {
  storage::NewBlob blob;
  blob.owner = owner;
  blob.digest = digest;
  blob.bytes = size;
  blob.now_us = core::unix_us();
  blob.most_bytes = bounds_.blobs_bytes;
  auto begin = [this, &blob](auto done) { context_.store.begin_blob(std::move(blob), std::move(done)); };
  const auto upload = co_await from_callback<core::Result<std::int64_t>>(std::move(begin));
  if (!upload) co_return std::unexpected(upload.error());
  core::Status status;
  for (std::uint64_t offset = 0; status && (offset < size || offset == 0); offset += kUploadPieceBytes) {
    auto piece = images::read_whole(file.get(), {offset, std::min(kUploadPieceBytes, size - offset)}, kUploadPieceBytes);
    if (!piece) {
      status = std::unexpected(piece.error());
      break;
    }
    auto add = [this, upload = *upload, offset, &piece](auto done) {
      context_.store.add_blob_piece(upload, offset, std::move(*piece), std::move(done));
    };
    status = co_await from_callback<core::Status>(std::move(add));
  }
  if (status) {
    auto end = [this, upload = *upload](auto done) { context_.store.end_blob(upload, std::move(done)); };
    status = co_await from_callback<core::Status>(std::move(end));
  }
  if (status) co_return status;
  auto drop = [this, upload = *upload](auto done) { context_.store.drop_blob(upload, std::move(done)); };
  (void)co_await from_callback<core::Status>(std::move(drop));
  // The same blob came on another connection and was there first.
  const bool there = context_.store.blob(owner, digest, 0, 0).has_value();
  co_return there ? core::Status{} : status;
}

awaitable<Response> Api::show_blob(Call call) {
  const std::string digest = "sha256:" + call.path_values[0];
  if (!is_blob_digest(digest)) co_return problem_response(no_such_blob());
  const auto found = context_.store.blob(call.caller.key_id, digest, 0, 0);
  if (!found && found.error().kind == core::ErrorKind::not_found) co_return problem_response(no_such_blob());
  if (!found) co_return problem_response(problem_of(found.error(), "read a blob"));
  auto read = [&store = context_.store, owner = call.caller.key_id, digest](std::uint64_t offset, std::uint64_t length) {
    auto slice = store.blob(owner, digest, offset, length);
    return slice ? core::Result<std::string>(std::move(slice->bytes)) : std::unexpected(std::move(slice.error()));
  };
  co_return bytes_response(call.request, '"' + digest + '"', found->total_bytes, std::move(read));
}

}  // namespace bailiff::server
