#include "storage/store.h"

#include <fcntl.h>

#include <mutex>
#include <utility>

#include "core/clock.h"
#include "core/fd.h"
#include "storage/connection.h"
#include "storage/file_lock.h"
#include "storage/job_reader.h"
#include "storage/job_tables.h"
#include "storage/reader_pool.h"
#include "storage/schema.h"
#include "storage/writer.h"

namespace bailiff::storage {
namespace {

std::size_t bytes_of(const NewJob& job) {
  return sizeof job + job.request.size() + (job.webhook ? job.webhook->url.size() + job.webhook->secret.size() : 0);
}

std::size_t bytes_of(const Finish& finish) {
  std::size_t bytes = sizeof finish + finish.result.size();
  for (const Output& output : finish.outputs) bytes += output.bytes.size();
  for (const Artifact& artifact : finish.artifacts) bytes += artifact.bytes.size();
  return bytes;
}

// A new database is its owner's alone; SQLite gives its log the same mode.
core::Status create_file(const std::string& path) {
  const core::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return core::errno_error("cannot open " + path);
  return {};
}

/// A read transaction: one snapshot for all statements of a read.
class Snapshot {
 public:
  explicit Snapshot(Connection& connection) : connection_(connection) { connection_.run("BEGIN"); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() {
    try {
      if (connection_.in_transaction()) connection_.run("ROLLBACK");
    } catch (const SQLite::Exception&) {
      // Nothing was written; the next BEGIN on this connection reports what is wrong.
    }
  }

 private:
  Connection& connection_;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(Options options, core::Fd lock, std::unique_ptr<Connection> connection, QueueDepth depth)
      : options_(std::move(options)), lock_(std::move(lock)), shared_(connection.get()) {
    const bool in_memory = options_.path == kMemoryPath;
    if (!in_memory) readers_ = std::make_unique<ReaderPool>(options_);
    writer_ = std::make_unique<Writer>(std::move(connection), options_, in_memory ? &memory_mutex_ : nullptr, depth);
  }
  ~SqliteStore() override { close(); }

  void submit(NewJob job, Callback<Submitted> done) override {
    const std::size_t bytes = bytes_of(job);
    post<Submitted>(
        Writer::Urgency::new_work, bytes, [job = std::move(job)](JobTables& tables) { return tables.submit(job); }, std::move(done));
  }
  void submit_all(std::vector<NewJob> jobs, Callback<std::vector<Submitted>> done) override {
    std::size_t bytes = 0;
    for (const auto& job : jobs) bytes += bytes_of(job);
    post<std::vector<Submitted>>(
        Writer::Urgency::new_work, bytes, [jobs = std::move(jobs)](JobTables& tables) { return tables.submit_all(jobs); }, std::move(done));
  }
  void claim(std::int64_t now_us, PickOwner pick, Callback<std::optional<ClaimedJob>> done) override {
    post<std::optional<ClaimedJob>>(
        Writer::Urgency::progress, 0, [now_us, pick = std::move(pick)](JobTables& tables) { return tables.claim(now_us, pick); },
        std::move(done));
  }
  void finish(Finish finish, Callback<void> done) override {
    const std::size_t bytes = bytes_of(finish);
    post<void>(
        Writer::Urgency::progress, bytes, [finish = std::move(finish)](JobTables& tables) { return tables.finish(finish); },
        std::move(done));
  }
  void requeue(std::string id, int attempt, Callback<core::JobState> done) override {
    post<core::JobState>(
        Writer::Urgency::progress, 0,
        [id = std::move(id), attempt](JobTables& tables) { return tables.requeue(id, attempt, core::unix_us()); }, std::move(done));
  }
  void cancel(std::string id, std::int64_t now_us, Callback<Cancelled> done) override {
    post<Cancelled>(
        Writer::Urgency::new_work, 0, [id = std::move(id), now_us](JobTables& tables) { return tables.cancel(id, now_us); },
        std::move(done));
  }

  void forget(std::string id, Callback<void> done) override {
    post<void>(Writer::Urgency::new_work, 0, [id = std::move(id)](JobTables& tables) { return tables.forget(id); }, std::move(done));
  }

  void forget_old(std::string before_id, std::int64_t finished_before_us, int most, Callback<std::size_t> done) override {
    auto work = [before_id = std::move(before_id), finished_before_us, most](JobTables& tables) {
      return tables.forget_old(before_id, finished_before_us, most);
    };
    post<std::size_t>(Writer::Urgency::new_work, 0, std::move(work), std::move(done));
  }

  void add_key(AccessKey key, Callback<void> done) override {
    post<void>(Writer::Urgency::new_work, 0, [key = std::move(key)](JobTables& tables) { return tables.keys().add(key); }, std::move(done));
  }
  void revoke_key(std::string id, std::int64_t now_us, Callback<void> done) override {
    post<void>(
        Writer::Urgency::new_work, 0, [id = std::move(id), now_us](JobTables& tables) { return tables.keys().revoke(id, now_us); },
        std::move(done));
  }
  core::Result<std::vector<AccessKey>> keys() override {
    return read<std::vector<AccessKey>>([](JobReader reader) { return reader.keys(); });
  }

  void record_webhook_attempt(WebhookAttempt attempt, Callback<void> done) override {
    const std::size_t bytes = sizeof attempt + attempt.error.size();
    auto work = [attempt = std::move(attempt)](JobTables& tables) { return tables.record_webhook_attempt(attempt); };
    post<void>(Writer::Urgency::progress, bytes, std::move(work), std::move(done));
  }
  void begin_blob(NewBlob blob, Callback<std::int64_t> done) override {
    post<std::int64_t>(
        Writer::Urgency::new_work, 0, [blob = std::move(blob)](JobTables& tables) { return tables.blobs().begin(blob); }, std::move(done));
  }
  void add_blob_piece(std::int64_t upload, std::uint64_t offset, std::string bytes, Callback<void> done) override {
    const std::size_t size = bytes.size();
    auto work = [upload, offset, bytes = std::move(bytes)](JobTables& tables) { return tables.blobs().add_piece(upload, offset, bytes); };
    post<void>(Writer::Urgency::new_work, size, std::move(work), std::move(done));
  }
  void end_blob(std::int64_t upload, Callback<void> done) override {
    post<void>(Writer::Urgency::new_work, 0, [upload](JobTables& tables) { return tables.blobs().end(upload); }, std::move(done));
  }
  void drop_blob(std::int64_t upload, Callback<void> done) override {
    post<void>(Writer::Urgency::progress, 0, [upload](JobTables& tables) { return tables.blobs().drop(upload); }, std::move(done));
  }
  void use_blob(std::string owner, std::string digest, std::int64_t now_us, Callback<bool> done) override {
    auto work = [owner = std::move(owner), digest = std::move(digest), now_us](JobTables& tables) -> core::Result<bool> {
      return tables.blobs().use(owner, digest, now_us).has_value();
    };
    post<bool>(Writer::Urgency::new_work, 0, std::move(work), std::move(done));
  }
  void forget_blobs(std::int64_t used_before_us, int most, Callback<std::size_t> done) override {
    auto work = [used_before_us, most](JobTables& tables) { return tables.blobs().forget(used_before_us, most); };
    post<std::size_t>(Writer::Urgency::new_work, 0, std::move(work), std::move(done));
  }
  core::Result<Slice> blob(const std::string& owner, const std::string& digest, std::uint64_t offset, std::uint64_t length) override {
    return read<Slice>([&](JobReader reader) { return reader.blob(owner, digest, offset, length); });
  }
  core::Result<Slice> artifact(const std::string& id, const std::string& path, std::uint64_t offset, std::uint64_t length) override {
    return read<Slice>([&](JobReader reader) { return reader.artifact(id, path, offset, length); });
  }

  core::Result<StoredJob> get(const std::string& id) override {
    return read<StoredJob>([&](JobReader reader) { return reader.get(id); });
  }
  core::Result<std::vector<StoredJob>> list(const ListQuery& query) override {
    return read<std::vector<StoredJob>>([&](JobReader reader) { return reader.list(query); });
  }
  core::Result<OwnerUse> use_of(const std::string& owner, std::int64_t now_us) override {
    return read<OwnerUse>([&](JobReader reader) { return reader.use_of(owner, now_us); });
  }
  core::Result<bool> knows_key(const std::string& owner, const std::string& key) override {
    return read<bool>([&](JobReader reader) { return reader.knows_key(owner, key); });
  }
  core::Result<Slice> output(const std::string& id, int index, Stream stream, std::uint64_t offset, std::uint64_t length) override {
    return read<Slice>([&](JobReader reader) { return reader.output(id, index, stream, offset, length); });
  }
  core::Result<std::string> owner(const std::string& id) override {
    return read<std::string>([&](JobReader reader) { return reader.owner(id); });
  }
  core::Result<std::map<std::string, std::uint64_t>> queued_by_owner() override {
    return read<std::map<std::string, std::uint64_t>>([](JobReader reader) { return reader.queued_by_owner(); });
  }
  core::Result<QueueDepth> depth() override { return writer_->depth(); }
  core::Result<std::optional<std::string>> id_before_newest(std::uint64_t count) override {
    return read<std::optional<std::string>>([&](JobReader reader) { return reader.id_before_newest(count); });
  }
  core::Result<std::optional<std::int64_t>> oldest_queued_us() override {
    return read<std::optional<std::int64_t>>([](JobReader reader) { return reader.oldest_queued_us(); });
  }
  core::Result<StoredWebhook> webhook(const std::string& job_id) override {
    return read<StoredWebhook>([&](JobReader reader) { return reader.webhook(job_id); });
  }
  core::Result<DueWebhooks> due_webhooks(const DueQuery& query) override {
    return read<DueWebhooks>([&](JobReader reader) { return reader.due_webhooks(query); });
  }
  core::Result<std::uint64_t> pending_webhooks() override {
    return read<std::uint64_t>([](JobReader reader) { return reader.pending_webhooks(); });
  }

  void close() override {
    {
      const std::lock_guard lock(memory_mutex_);
      closed_ = true;
    }
    // The writing connection goes last: closing the last one is what moves the log into the database.
    if (readers_) readers_->close();
    writer_->close();
    lock_.reset();
  }

 private:
  template <class T>
  void post(Writer::Urgency urgency, std::size_t bytes, typename WriteOf<T>::Work work, Callback<T> done) {
    writer_->post(std::make_unique<WriteOf<T>>(bytes, std::move(work), std::move(done)), urgency);
  }

  template <class T, class Work>
  core::Result<T> read(Work work) {
    try {
      if (!readers_) {
        const std::lock_guard lock(memory_mutex_);
        if (closed_) return core::error(core::ErrorKind::unavailable, "the store is closed");
        return work(JobReader(*shared_));
      }
      auto lease = readers_->borrow();
      if (!lease) return std::unexpected(std::move(lease.error()));
      const Snapshot snapshot(lease->connection());
      return work(JobReader(lease->connection()));
    } catch (const SQLite::Exception& fault) {
      return std::unexpected(error_of(fault, options_.path));
    }
  }

  const Options options_;
  core::Fd lock_;
  std::mutex memory_mutex_;  // :memory: only: reads and transactions take turns on the writer's connection, `shared_`, until it closes
  Connection* const shared_;
  bool closed_ = false;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<ReaderPool> readers_;
};

}  // namespace

core::Result<std::unique_ptr<Store>> Store::open(const Options& options) {
  try {
    core::Fd lock;
    if (options.path != kMemoryPath) {
      auto locked = lock_file(options.path + ".lock");
      if (!locked) return std::unexpected(std::move(locked.error()));
      lock = std::move(*locked);
      if (auto created = create_file(options.path); !created) return std::unexpected(std::move(created.error()));
    }
    auto connection = std::make_unique<Connection>(options.path, Connection::Mode::read_write, options.busy_timeout_ms);
    if (auto ready = prepare_database(*connection, options.path); !ready) return std::unexpected(std::move(ready.error()));
    JobTables tables(*connection);
    connection->run("BEGIN IMMEDIATE");
    tables.recover(core::unix_us());
    connection->run("COMMIT");
    const QueueDepth depth = tables.count_depth();
    return std::make_unique<SqliteStore>(options, std::move(lock), std::move(connection), depth);
  } catch (const SQLite::Exception& fault) {
    return std::unexpected(error_of(fault, options.path));
  }
}

}  // namespace bailiff::storage
