#include "storage/job_tables.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace bailiff::storage {
namespace {

std::string text_of(std::string_view name) { return std::string(name); }

std::unexpected<core::Error> unknown_job(const std::string& id) { return core::error(core::ErrorKind::not_found, "no job " + id); }

std::int64_t bytes_of(const Finish& finish) {
  std::size_t bytes = finish.result.size();
  for (const auto& output : finish.outputs) bytes += output.bytes.size();
  for (const auto& artifact : finish.artifacts) bytes += artifact.bytes.size();
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

const char* stream_name(Stream stream) { return stream == Stream::stdout_stream ? "stdout" : "stderr"; }

// The answer where the idempotency key was used before.
std::optional<core::Result<Submitted>> JobTables::submitted_before(const NewJob& job) {
  if (!job.idempotency_key) return std::nullopt;
  Query known = connection_.query("SELECT digest, job_id FROM idempotency_keys WHERE owner = ? AND key = ?");
  known->bindNoCopy(1, job.owner);
  known->bindNoCopy(2, *job.idempotency_key);
  if (!known->executeStep()) return std::nullopt;
  if (known->getColumn(0).getString() != job.request_digest)
    return core::error(core::ErrorKind::conflict, "idempotency key used with another request");
  return Submitted{known->getColumn(1).getString(), true};
}

core::Status JobTables::insert_job(const NewJob& job) {
  Query row = connection_.query("INSERT INTO jobs (id, state, priority, created_us, owner, stored_bytes) VALUES (?, 'queued', ?, ?, ?, ?)");
  row->bindNoCopy(1, job.id);
  row->bind(2, job.priority);
  row->bind(3, job.created_us);
  row->bindNoCopy(4, job.owner);
  row->bind(5, static_cast<std::int64_t>(job.request.size()));
  row->exec();
  Query request = connection_.query("INSERT INTO requests (job_id, document) VALUES (?, ?)");
  request->bindNoCopy(1, job.id);
  request->bindNoCopy(2, job.request);
  request->exec();
  if (job.webhook) {
    insert_webhook(connection_, job.id, *job.webhook);
    has_webhooks_ = true;
  }
  for (const auto& [key, value] : job.labels) {
    Query label = connection_.query("INSERT INTO labels (job_id, key, value) VALUES (?, ?, ?)");
    label->bindNoCopy(1, job.id);
    label->bindNoCopy(2, key);
    label->bindNoCopy(3, value);
    label->exec();
  }
  for (const auto& digest : job.blobs) {
    const auto blob = blobs().use(job.owner, digest, job.created_us);
    if (!blob) return core::error(core::ErrorKind::invalid, "no blob " + digest);
    blobs().need(job.id, *blob);
  }
  return {};
}

core::Result<Submitted> JobTables::submit(const NewJob& job) {
  if (auto before = submitted_before(job)) return *before;
  if (auto inserted = insert_job(job); !inserted) return std::unexpected(std::move(inserted.error()));
  if (job.idempotency_key) {
    Query key = connection_.query("INSERT INTO idempotency_keys (owner, key, digest, job_id) VALUES (?, ?, ?, ?)");
    key->bindNoCopy(1, job.owner);
    key->bindNoCopy(2, *job.idempotency_key);
    key->bindNoCopy(3, job.request_digest);
    key->bindNoCopy(4, job.id);
    key->exec();
  }
  change_ += {.queued = 1};
  return Submitted{job.id, false};
}

core::Result<std::vector<Submitted>> JobTables::submit_all(const std::vector<NewJob>& jobs) {
  std::vector<Submitted> submitted;
  Change all;
  for (const auto& job : jobs) {
    auto one = submit(job);
    all += take_change();
    if (!one) return std::unexpected(std::move(one.error()));
    submitted.push_back(std::move(*one));
  }
  change_ += all;
  return submitted;
}

// Hops from owner to owner along the index of the queue: a seek for each, however many jobs they have.
std::vector<std::string> JobTables::owners_queued() {
  Query hop = connection_.query("WITH RECURSIVE hop (owner) AS ("
                                "  SELECT min(owner) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued'"
                                "  UNION ALL"
                                "  SELECT (SELECT min(owner) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND owner > hop.owner)"
                                "  FROM hop WHERE hop.owner IS NOT NULL"
                                ") SELECT owner FROM hop WHERE owner IS NOT NULL");
  std::vector<std::string> owners;
  while (hop->executeStep()) owners.push_back(hop->getColumn(0).getString());
  return owners;
}

/// The owner's next job: of the highest priority the oldest, and now and then the oldest of all, so that none waits for ever behind others
/// of the same owner. Nothing: it has none queued.
std::optional<ClaimedJob> JobTables::next_of(const std::string& owner) {
  Query first = connection_.query("SELECT id, attempt, created_us, priority FROM jobs INDEXED BY jobs_queued "
                                  "WHERE state = 'queued' AND owner = ? AND priority < ? ORDER BY priority DESC, id LIMIT 1");
  const bool any_priority = ++turns_[owner] % kTurnsToTheOldest == 0;
  std::optional<ClaimedJob> next;
  for (int below = std::numeric_limits<int>::max();;) {
    first->bindNoCopy(1, owner);
    first->bind(2, below);
    if (!first->executeStep()) return next;
    if (const std::string id = first->getColumn(0).getString(); !next || id < next->id) {
      next.emplace();
      next->id = id;
      next->attempt = first->getColumn(1).getInt() + 1;
      next->created_us = first->getColumn(2).getInt64();
    }
    if (!any_priority) return next;
    below = first->getColumn(3).getInt();
    first->reset();
  }
}

core::Result<std::optional<ClaimedJob>> JobTables::claim(std::int64_t now_us, const PickOwner& pick) {
  const auto owners = owners_queued();
  if (owners.empty()) return std::nullopt;
  const auto owner = pick(owners);
  if (!owner) return std::nullopt;
  auto next = next_of(*owner);
  if (!next) return core::error(core::ErrorKind::internal, "an owner without queued jobs was picked");
  ClaimedJob job = std::move(*next);
  job.owner = *owner;
  Query lease = connection_.query("UPDATE jobs SET state = 'running', attempt = ?, started_us = ? WHERE id = ?");
  lease->bind(1, job.attempt);
  lease->bind(2, now_us);
  lease->bindNoCopy(3, job.id);
  lease->exec();
  Query request = connection_.query("SELECT document FROM requests WHERE job_id = ?");
  request->bindNoCopy(1, job.id);
  if (!request->executeStep()) return core::error(core::ErrorKind::internal, "no request of job " + job.id);
  job.request = request->getColumn(0).getString();
  change_ += {.queued = -1, .running = 1};
  return job;
}

core::Error JobTables::lease_error(const std::string& id, int attempt) {
  Query job = connection_.query("SELECT state, attempt FROM jobs WHERE id = ?");
  job->bindNoCopy(1, id);
  if (!job->executeStep()) return unknown_job(id).error();
  return {core::ErrorKind::conflict,
          "attempt " + std::to_string(attempt) + " does not hold job " + id + ": it is " + job->getColumn(0).getString() + " in attempt " +
              std::to_string(job->getColumn(1).getInt()),
          0};
}

// Belongs to every statement that ends a job, in its transaction. For a job without a webhook it is one look into an index, some 2 µs.
void JobTables::tell_end(const std::string& id, std::int64_t now_us) {
  if (has_webhooks_ && make_webhook_due(connection_, id, now_us)) change_ += {.webhooks_due = 1};
}

void JobTables::count_cpu_time(const Finish& finish) {
  Query use = connection_.query("INSERT INTO owner_use (owner, cpu_hour, cpu_us) SELECT owner, ?, ? FROM jobs WHERE id = ? AND owner <> '' "
                                "ON CONFLICT (owner) DO UPDATE SET cpu_us = CASE cpu_hour WHEN excluded.cpu_hour THEN cpu_us ELSE 0 END + "
                                "excluded.cpu_us, cpu_hour = excluded.cpu_hour WHERE excluded.cpu_hour >= cpu_hour");
  use->bind(1, finish.finished_us / kHourUs);
  use->bind(2, finish.cpu_us);
  use->bindNoCopy(3, finish.id);
  use->exec();
}

core::Status JobTables::end_lease(const Finish& finish) {
  Query job =
      connection_.query("UPDATE jobs SET state = 'finished', verdict = ?, message = ?, finished_us = ?, stored_bytes = stored_bytes + ? "
                        "WHERE id = ? AND state = 'running' AND attempt = ?");
  job->bind(1, text_of(core::name(finish.verdict)));
  job->bindNoCopy(2, finish.message);
  job->bind(3, finish.finished_us);
  job->bind(4, bytes_of(finish));
  job->bindNoCopy(5, finish.id);
  job->bind(6, finish.attempt);
  if (job->exec() != 1) return std::unexpected(lease_error(finish.id, finish.attempt));
  if (finish.cpu_us > 0) count_cpu_time(finish);
  tell_end(finish.id, finish.finished_us);
  return {};
}

void JobTables::insert_output(const std::string& id, const Output& output) {
  // An empty output has one empty piece: it was captured, and nothing came.
  for_each_piece(output.bytes, [&](std::uint64_t offset, std::string_view bytes) {
    Query piece = connection_.query("INSERT INTO outputs (job_id, step, stream, offset_bytes, bytes) VALUES (?, ?, ?, ?, ?)");
    piece->bindNoCopy(1, id);
    piece->bind(2, output.index);
    piece->bindNoCopy(3, stream_name(output.stream));
    piece->bind(4, static_cast<std::int64_t>(offset));
    piece->bindNoCopy(5, bytes.data(), static_cast<int>(bytes.size()));
    piece->exec();
  });
}

core::Status JobTables::finish(const Finish& finish) {
  if (auto ended = end_lease(finish); !ended) return ended;
  Query result = connection_.query("INSERT INTO results (job_id, document) VALUES (?, ?)");
  result->bindNoCopy(1, finish.id);
  result->bindNoCopy(2, finish.result);
  result->exec();
  for (const Output& output : finish.outputs) insert_output(finish.id, output);
  for (const Artifact& artifact : finish.artifacts) blobs().put_artifact(finish.id, artifact);
  change_ += {.running = -1};
  return {};
}

core::Result<core::JobState> JobTables::requeue(const std::string& id, int attempt, std::int64_t now_us) {
  Query cancelled = connection_.query("UPDATE jobs SET state = 'finished', verdict = 'cancelled', finished_us = ? "
                                      "WHERE id = ? AND state = 'running' AND attempt = ? AND cancel_requested = 1");
  cancelled->bind(1, now_us);
  cancelled->bindNoCopy(2, id);
  cancelled->bind(3, attempt);
  if (cancelled->exec() == 1) {
    tell_end(id, now_us);
    change_ += {.running = -1};
    return core::JobState::finished;
  }
  Query queued =
      connection_.query("UPDATE jobs SET state = 'queued', started_us = NULL WHERE id = ? AND state = 'running' AND attempt = ?");
  queued->bindNoCopy(1, id);
  queued->bind(2, attempt);
  if (queued->exec() != 1) return std::unexpected(lease_error(id, attempt));
  change_ += {.queued = 1, .running = -1};
  return core::JobState::queued;
}

core::Result<Cancelled> JobTables::cancel(const std::string& id, std::int64_t now_us) {
  Cancelled cancelled;
  {
    Query job = connection_.query("SELECT state, owner FROM jobs WHERE id = ?");
    job->bindNoCopy(1, id);
    if (!job->executeStep()) return unknown_job(id);
    cancelled.state = core::job_state_from_name(job->getColumn(0).getString()).value();  // the column's CHECK knows the same names
    cancelled.owner = job->getColumn(1).getString();
  }
  if (cancelled.state == core::JobState::finished) return cancelled;
  if (cancelled.state == core::JobState::running) {
    Query mark = connection_.query("UPDATE jobs SET cancel_requested = 1 WHERE id = ? AND cancel_requested = 0");
    mark->bindNoCopy(1, id);
    mark->exec();
    return cancelled;
  }
  Query end =
      connection_.query("UPDATE jobs SET state = 'finished', verdict = 'cancelled', cancel_requested = 1, finished_us = ? WHERE id = ?");
  end->bind(1, now_us);
  end->bindNoCopy(2, id);
  end->exec();
  tell_end(id, now_us);
  change_ += {.queued = -1};
  cancelled.state = core::JobState::finished;
  cancelled.ended_now = true;
  return cancelled;
}

core::Status JobTables::forget(const std::string& id) {
  {
    Query gone = connection_.query("DELETE FROM jobs WHERE id = ? AND state = 'finished'");  // what belongs to it goes by its references
    gone->bindNoCopy(1, id);
    if (gone->exec() == 1) return {};
  }
  Query job = connection_.query("SELECT state FROM jobs WHERE id = ?");
  job->bindNoCopy(1, id);
  if (!job->executeStep()) return unknown_job(id);
  return core::error(core::ErrorKind::conflict, "job " + id + " is " + job->getColumn(0).getString());
}

core::Result<std::size_t> JobTables::forget_old(const std::string& before_id, std::int64_t finished_before_us, int most) {
  Query gone =
      connection_.query("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = 'finished' AND id < ? AND finished_us < ? "
                        "ORDER BY id LIMIT ?)");
  gone->bindNoCopy(1, before_id);
  gone->bind(2, finished_before_us);
  gone->bind(3, most);
  return static_cast<std::size_t>(gone->exec());
}

void JobTables::recover(std::int64_t now_us) {
  std::vector<std::string> ended;
  {
    Query cancelled = connection_.query("SELECT id FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND cancel_requested = 1");
    while (cancelled->executeStep()) ended.push_back(cancelled->getColumn(0).getString());
  }
  for (const auto& id : ended) {
    Query end = connection_.query("UPDATE jobs SET state = 'finished', verdict = 'cancelled', finished_us = ? WHERE id = ?");
    end->bind(1, now_us);
    end->bindNoCopy(2, id);
    end->exec();
    tell_end(id, now_us);
  }
  connection_.run("UPDATE jobs SET state = 'queued', started_us = NULL WHERE state = 'running'");
  blobs().drop_unfinished();
}

QueueDepth JobTables::count_depth() {
  Query queued = connection_.query("SELECT count(*) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued'");
  Query running = connection_.query("SELECT count(*) FROM jobs INDEXED BY jobs_running WHERE state = 'running'");
  queued->executeStep();
  running->executeStep();
  return {static_cast<std::uint64_t>(queued->getColumn(0).getInt64()), static_cast<std::uint64_t>(running->getColumn(0).getInt64())};
}

}  // namespace bailiff::storage
