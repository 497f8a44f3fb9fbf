#include "cli/app.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <sstream>

#include "cli/artifacts.h"
#include "cli/backup.h"
#include "cli/doctor.h"
#include "cli/exec.h"
#include "cli/exit_code.h"
#include "cli/image.h"
#include "cli/input.h"
#include "cli/key.h"
#include "cli/language.h"
#include "cli/remote.h"
#include "cli/render.h"
#include "cli/run.h"
#include "cli/top.h"
#include "sandbox/cgroup_driver.h"

namespace bailiff::cli {
namespace {

using Command = std::function<Expected<ExitCode>()>;

constexpr std::uint64_t kMaxWaitSeconds = 7 * 24 * 3600;

/// What all commands are parsed into. CLI11 keeps references to the members, so it outlives the parse.
struct Parsed {
  RunOptions run;
  SubmitOptions submit;
  JobsOptions jobs;
  DoctorOptions doctor;
  ExecOptions exec;
  AttachOptions attach;
  ImageOptions image;
  BackupOptions backup;
  KeyOptions key;
  ArtifactsOptions artifacts;
  TopOptions top;
  LanguageTestOptions language;
  ServerOptions job, action, languages, inspect;
  std::string job_id, action_id, inspect_id;
  std::uint64_t wait_seconds = 0;
  std::vector<std::string> limits;  // "name=value", in the order given
  std::vector<std::string> trailing;  // what stands after "--": the program's, whatever it looks like
  bool json = false;
  Command command;
};

void add_limits(CLI::App& app, Parsed& parsed) {
  const auto shorthand = [&](const char* option, const char* limit, const char* help, const char* unit) {
    app.add_option_function<std::string>(
           option, [&parsed, limit](const std::string& value) { parsed.limits.push_back(fmt::format("{}={}", limit, value)); }, help)
        ->type_name(unit);
  };
  shorthand("-t,--time", "cpu_time_ms", "CPU time of all its processes (2000, 1.5s)", "MS");
  shorthand("--wall-time", "wall_time_ms", "time from start to end", "MS");
  shorthand("-m,--memory", "memory_bytes", "memory (67108864, 64M)", "BYTES");
  shorthand("--processes", "processes", "processes and threads at one time", "N");
  app.add_option("--limit", parsed.limits, "any limit, as name=value; may be repeated")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
}

void add_driver(CLI::App& app, sandbox::CgroupDriver& driver) {
  app.add_option_function<std::string>(
         "--cgroup-driver", [&driver](const std::string& name) { driver = sandbox::cgroup_driver_from_name(name).value(); },
         "who makes the group of the sandboxes; auto: systemd where it runs, else nobody (cgroupfs)")
      ->check(CLI::IsMember({"auto", "cgroupfs", "systemd"}))
      ->envname("BAILIFF_CGROUP_DRIVER")
      ->type_name("DRIVER");
}

void add_server(CLI::App& app, ServerOptions& server) {
  app.add_option("-s,--server", server.url, "the server's URL")->envname("BAILIFF_SERVER")->capture_default_str()->type_name("URL");
}

void add_json(CLI::App& app, Parsed& parsed) { app.add_flag("--json", parsed.json, "print JSON"); }

void add_wait(CLI::App& app, Parsed& parsed, ServerOptions& server) {
  app.add_flag_function(
         fmt::format("-w,--wait{{{}}}", kDefaultWait.count()),
         [&parsed, &server](std::int64_t value) {
           parsed.wait_seconds = static_cast<std::uint64_t>(std::clamp<std::int64_t>(value, 0, kMaxWaitSeconds));
           server.wait = std::chrono::seconds(parsed.wait_seconds);
         },
         "wait for the end, at most SECS seconds")
      ->type_name("[SECS]");
}

/// Runs a command once the limits, which come as texts, are understood.
Command with_limits(Parsed& parsed, core::LimitOverrides& limits, Command command) {
  return [&parsed, &limits, command = std::move(command)]() -> Expected<ExitCode> {
    for (const std::string& assignment : parsed.limits)
      if (auto understood = parse_limit(assignment, limits); !understood) return std::unexpected(std::move(understood.error()));
    return command();
  };
}

void add_images_directory(CLI::App& app, std::string& directory) {
  app.add_option("--images", directory, "directory of images")->envname("BAILIFF_IMAGES")->capture_default_str()->type_name("DIR");
}

void add_run(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* run = app.add_subcommand("run", "Run a program on this machine, without a server (needs root)");
  run->add_option("FILE", parsed.run.file, "source file")->required();
  run->add_option("ARGS", parsed.run.args, "arguments of the program; those that begin with - after a --");
  run->add_option("-l,--language", parsed.run.language, "language (else by the file's extension)")->type_name("NAME");
  run->add_option("--image", parsed.run.image, "host, a name of `bailiff image list`, or the path of an unpacked root filesystem")
      ->type_name("IMAGE");
  add_images_directory(*run, parsed.run.images_directory);
  run->add_option("--stdin", parsed.run.stdin_file, "the program's input (else our own)")->type_name("FILE");
  run->add_option("--definitions", parsed.run.definitions, "directory of language definitions")
      ->envname("BAILIFF_LANGUAGES")
      ->type_name("DIR");
  add_driver(*run, parsed.run.cgroup_driver);
  add_limits(*run, parsed);
  add_json(*run, parsed);
  run->callback([&] {
    parsed.run.json = parsed.json;
    parsed.run.args.insert(parsed.run.args.end(), parsed.trailing.begin(), parsed.trailing.end());
    parsed.command = with_limits(parsed, parsed.run.limits, [&] { return run_local(parsed.run, console); });
  });
}

void add_submit(CLI::App& app, Parsed& parsed, const Console& console) {
  SubmitOptions& options = parsed.submit;
  CLI::App* submit_app = app.add_subcommand("submit", "Send a program to a server");
  submit_app->add_option("FILE", options.file, "source file")->required();
  submit_app->add_option("ARGS", options.args, "arguments of the program; those that begin with - after a --");
  submit_app->add_option("-l,--language", options.language, "language (else the file's extension)")->type_name("NAME");
  submit_app->add_option("--image", options.image, "image (else the language's)")->type_name("NAME");
  submit_app->add_option("--stdin", options.stdin_file, "the program's input; - is our own")->type_name("FILE");
  submit_app->add_option("--archive", options.archive, "tar or zip of files that stand beside the source; - is our own input")
      ->type_name("FILE");
  auto* tests = submit_app->add_option("--tests", options.tests_directory, "tests: pairs of NAME.in and NAME.out")->type_name("DIR");
  submit_app->add_option("--checker", options.checker, "how outputs are compared")
      ->check(CLI::IsMember({"tokens", "lines", "exact"}))
      ->needs(tests);
  submit_app->add_option("--label", options.labels, "a label of the job; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  submit_app->add_option("--artifact", options.artifacts, "keep the files that match, for `bailiff artifacts`; may be repeated")
      ->type_name("GLOB")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  submit_app->add_flag("-i,--interactive", options.interactive, "join its standard streams with ours while it runs");
  submit_app->add_flag("--tty", options.terminal, "with -i: give it a terminal");
  submit_app->add_option("--priority", options.priority, "-10 to 10, higher first")->check(CLI::Range(-10, 10));
  submit_app->add_option("--idempotency-key", options.idempotency_key, "the same key and job, sent again, give the same job")
      ->type_name("KEY");
  add_limits(*submit_app, parsed);
  add_server(*submit_app, options.server);
  add_wait(*submit_app, parsed, options.server);
  add_json(*submit_app, parsed);
  submit_app->callback([&] {
    options.server.json = parsed.json;
    options.interactive = options.interactive || options.terminal;
    options.args.insert(options.args.end(), parsed.trailing.begin(), parsed.trailing.end());
    parsed.command = with_limits(parsed, options.limits, [&] { return submit(options, console); });
  });
}

void add_job(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* job = app.add_subcommand("job", "Show a job");
  job->add_option("ID", parsed.job_id, "the job's id")->required();
  add_server(*job, parsed.job);
  add_wait(*job, parsed, parsed.job);
  add_json(*job, parsed);
  job->callback([&] {
    parsed.job.json = parsed.json;
    parsed.command = [&] { return show_job(parsed.job, parsed.job_id, console); };
  });
  CLI::App* left = app.add_subcommand("artifacts", "List the files that a job left, or save them");
  left->add_option("ID", parsed.artifacts.id, "the job's id")->required();
  left->add_option("-o,--output", parsed.artifacts.directory, "save them here; nothing is overwritten")->type_name("DIR");
  add_server(*left, parsed.artifacts.server);
  add_json(*left, parsed);
  left->callback([&] {
    parsed.artifacts.server.json = parsed.json;
    parsed.command = [&] { return artifacts(parsed.artifacts, console); };
  });
  const auto add_action = [&](const std::string& name, const char* help) {
    CLI::App* action = app.add_subcommand(name, help);
    action->add_option("ID", parsed.action_id, "the job's id")->required();
    add_server(*action, parsed.action);
    if (name == "cancel") add_wait(*action, parsed, parsed.action);
    add_json(*action, parsed);
    action->callback([&, name] {
      parsed.action.json = parsed.json;
      parsed.command = [&, name] { return act_on_job(parsed.action, name, parsed.action_id, console); };
    });
  };
  add_action("cancel", "Cancel a job");
  add_action("pause", "Let the programs of a running job stand still");
  add_action("resume", "Let a paused job go on");
}

void add_running(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* attach_app = app.add_subcommand("attach", "Join our standard streams with an interactive job, until it ends");
  attach_app->add_option("ID", parsed.attach.id, "the job's id")->required();
  add_server(*attach_app, parsed.attach.server);
  attach_app->callback([&] { parsed.command = [&] { return attach(parsed.attach, console); }; });
  CLI::App* exec = app.add_subcommand("exec", "Run a command beside a running job, in its sandbox");
  exec->add_flag("-t,--tty", parsed.exec.terminal, "give it a terminal");
  exec->add_option("-e,--env", parsed.exec.env, "a variable of its environment; may be repeated")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->take_all();
  exec->add_option("ID", parsed.exec.id, "the job's id")->required();
  exec->add_option("COMMAND", parsed.exec.command, "the command; after a -- where one of its words begins with -");
  add_server(*exec, parsed.exec.server);
  exec->callback([&] {
    parsed.exec.command.insert(parsed.exec.command.end(), parsed.trailing.begin(), parsed.trailing.end());
    if (parsed.exec.command.empty()) throw CLI::RequiredError("COMMAND");
    parsed.command = [&] { return exec_beside(parsed.exec, console); };
  });
  CLI::App* inspect = app.add_subcommand("inspect", "Show the sandbox of a running job: its namespaces, cgroups and processes");
  inspect->add_option("ID", parsed.inspect_id, "the job's id")->required();
  add_server(*inspect, parsed.inspect);
  add_json(*inspect, parsed);
  inspect->callback([&] {
    parsed.inspect.json = parsed.json;
    parsed.command = [&] { return inspect_job(parsed.inspect, parsed.inspect_id, console); };
  });
}

void add_lists(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* jobs = app.add_subcommand("jobs", "List the newest jobs");
  jobs->add_option("--state", parsed.jobs.state, "only these")->check(CLI::IsMember({"queued", "running", "finished"}));
  jobs->add_option("--verdict", parsed.jobs.verdict, "only these")->type_name("VERDICT");
  jobs->add_option("--label", parsed.jobs.labels, "only with this label; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  jobs->add_option("-n,--count", parsed.jobs.count, "how many")->capture_default_str()->check(CLI::Range(1, 100000));
  add_server(*jobs, parsed.jobs.server);
  add_json(*jobs, parsed);
  jobs->callback([&] {
    parsed.jobs.server.json = parsed.json;
    parsed.command = [&] { return list_jobs(parsed.jobs, console); };
  });
  CLI::App* languages = app.add_subcommand("languages", "List the languages that a server offers");
  add_server(*languages, parsed.languages);
  add_json(*languages, parsed);
  languages->callback([&] {
    parsed.languages.json = parsed.json;
    parsed.command = [&] { return list_languages(parsed.languages, console); };
  });
  CLI::App* doctor_app = app.add_subcommand("doctor", "Tell what this machine has of what Bailiff uses, and how to get the rest");
  doctor_app->add_option("--definitions", parsed.doctor.definitions, "directory of language definitions")
      ->envname("BAILIFF_LANGUAGES")
      ->type_name("DIR");
  add_driver(*doctor_app, parsed.doctor.cgroup_driver);
  add_json(*doctor_app, parsed);
  doctor_app->callback([&] {
    parsed.doctor.json = parsed.json;
    parsed.command = [&] { return doctor(parsed.doctor, console); };
  });
}

void add_image(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* image = app.add_subcommand("image", "Images of this machine: what programs run in");
  image->require_subcommand(1);
  ImageOptions& options = parsed.image;
  const auto add = [&](const char* name, const char* help, auto function) {
    CLI::App* command = image->add_subcommand(name, help);
    add_images_directory(*command, options.directory);
    add_json(*command, parsed);
    command->callback([&parsed, &console, function] {
      parsed.image.json = parsed.json;
      parsed.command = [&parsed, &console, function] { return function(parsed.image, console); };
    });
    return command;
  };
  add("list", "List the images and the room that they take", list_images);
  add("inspect", "All about an image, as JSON", inspect_image)->add_option("NAME", options.name, "the image")->required();
  CLI::App* import = add("import", "Take an image in", import_archive);
  import->add_option("NAME", options.name, "what to call it: a-z 0-9 . _ + -")->required();
  import->add_option("ARCHIVE", options.archive, "an OCI layout, a docker save archive or a root filesystem's tar; - is standard input")
      ->required();
  CLI::App* build = add("build", "Build images from Debian packages (needs root and mmdebstrap)", build_images);
  build->add_option("NAME", options.names, "definitions to build")->required();
  build->add_flag("--if-missing", options.if_missing, "leave alone what is in the store");
  build->add_option("--definitions", options.definitions, "directory of image definitions")->type_name("DIR");
  build->add_option("--languages", options.languages, "directory of language definitions, which bring their packages")
      ->envname("BAILIFF_LANGUAGES")
      ->type_name("DIR");
  add_driver(*build, options.cgroup_driver);
  build->add_flag("--update-lock", options.update_lock, "take the newest packages and write NAME.lock");
  add("unpack", "Make images usable on a kernel without EROFS", unpack_images)->add_option("NAME", options.names, "the images")->required();
  add("rm", "Remove images", remove_images)->add_option("NAME", options.names, "the images")->required();
  add("gc", "Remove what no name stands for any more", collect_image_garbage);
}

void add_language(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* language = app.add_subcommand("language", "Languages of this machine");
  language->require_subcommand(1);
  LanguageTestOptions& options = parsed.language;
  CLI::App* test = language->add_subcommand("test", "Run every language's own programs in its image (needs root)");
  test->add_option("NAME", options.names, "languages; without any: all");
  test->add_option("--image", options.image, "try them in this image only")->type_name("IMAGE");
  test->add_option("--definitions", options.definitions, "directory of language definitions")
      ->envname("BAILIFF_LANGUAGES")
      ->type_name("DIR");
  add_images_directory(*test, options.images_directory);
  add_driver(*test, options.cgroup_driver);
  add_json(*test, parsed);
  test->add_flag("--markdown", options.markdown, "print docs/languages.md");
  test->callback([&] {
    parsed.language.json = parsed.json;
    parsed.command = [&] { return test_languages(parsed.language, console); };
  });
}

void add_backup(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* backup = app.add_subcommand("backup", "Copy the database of this machine's server, which may go on meanwhile");
  backup->add_option("FILE", parsed.backup.copy, "the copy; it must not be there yet")->required();
  backup->add_option("--data", parsed.backup.data, "the server's directory")
      ->envname("BAILIFF_DATA")
      ->capture_default_str()
      ->type_name("DIR");
  add_json(*backup, parsed);
  backup->callback([&] {
    parsed.backup.json = parsed.json;
    parsed.command = [&] { return back_up(parsed.backup, console); };
  });
}

void add_key(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* key = app.add_subcommand("key", "API keys of a server: make, list, revoke (needs one with the scope admin, once there is any)");
  key->require_subcommand(1);
  KeyOptions& options = parsed.key;
  const auto add = [&](const char* name, const char* help, auto function) {
    CLI::App* command = key->add_subcommand(name, help);
    add_server(*command, options.server);
    add_json(*command, parsed);
    command->callback([&parsed, &console, function] {
      parsed.key.server.json = parsed.json;
      parsed.command = [&parsed, &console, function] { return function(parsed.key, console); };
    });
    return command;
  };
  CLI::App* create = add("create", "Make a key; it is printed this once", create_key);
  create->add_option("NAME", options.name, "what to call it, for people")->required();
  create->add_option("--scope", options.scopes, "what it may do: submit, read, admin; may be repeated (else submit and read)")
      ->check(CLI::IsMember({"submit", "read", "admin"}));
  create->add_option("--weight", options.bounds.weight, "its share of the slots against other keys")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  create->add_option("--max-queued", options.bounds.max_queued, "most jobs of it that are queued")->check(CLI::PositiveNumber);
  create->add_option("--max-running", options.bounds.max_running, "most jobs of it that run at once")->check(CLI::PositiveNumber);
  create->add_option("--max-stored-bytes", options.bounds.max_stored_bytes, "bytes stored at which its jobs and blobs are refused")
      ->check(CLI::PositiveNumber);
  create->add_option("--max-cpu-ms-per-hour", options.bounds.max_cpu_ms_per_hour, "CPU time in an hour at which its jobs are refused")
      ->check(CLI::PositiveNumber);
  create->add_option("--data", options.data, "write it into this directory of a server that does not run, instead of asking one")
      ->type_name("DIR")
      ->excludes("--server");
  add("list", "List the keys", list_keys);
  add("revoke", "Take a key back, for good", revoke_key)->add_option("ID", options.id, "of `bailiff key list`")->required();
}

void add_top(CLI::App& app, Parsed& parsed, const Console& console) {
  CLI::App* top_app = app.add_subcommand("top", "Watch a server: slots, queue, verdicts a second, the newest jobs; q ends it");
  add_server(*top_app, parsed.top.server);
  top_app->add_option("-i,--interval", parsed.top.interval_s, "seconds between two looks")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  top_app->add_option("-n,--rounds", parsed.top.rounds, "end after so many looks (else when told to; in a pipe, after one)");
  top_app->callback([&] { parsed.command = [&] { return top(parsed.top, console); }; });
}

int print_failure(const Failure& failure, bool json, const Console& console) {
  (void)console.err.write(render_failure(failure, console.err.paint()));
  if (json) {
    core::Json error = {{"message", core::to_utf8(failure.what)},
                        {"next", failure.next.empty() ? core::Json(nullptr) : core::Json(core::to_utf8(failure.next))}};
    if (!failure.problem.is_null()) error["problem"] = failure.problem;
    (void)console.out.write(core::Json{{"error", std::move(error)}}.dump(2, ' ', false, core::Json::error_handler_t::replace) + "\n");
  }
  return failure.code;
}

}  // namespace

std::vector<std::string> join_wait(std::vector<std::string> arguments) {
  for (std::size_t i = 0; i + 1 < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& next = arguments[i + 1];
    const bool number = !next.empty() && next.size() <= 6 && std::ranges::all_of(next, [](char c) { return c >= '0' && c <= '9'; });
    if ((arguments[i] != "--wait" && arguments[i] != "-w") || !number) continue;
    arguments[i] = "--wait=" + next;
    arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
  return arguments;
}

int run_app(std::vector<std::string> arguments, const Console& console) {
  Parsed parsed;
  CLI::App app("Runs programs that nobody trusts: here, or on a Bailiff server.", "bailiff");
  app.set_version_flag("--version", std::string("bailiff " BAILIFF_VERSION));
  app.require_subcommand(1);
  app.footer(exit_code_help());
  add_run(app, parsed, console);
  add_submit(app, parsed, console);
  add_job(app, parsed, console);
  add_running(app, parsed, console);
  add_lists(app, parsed, console);
  add_image(app, parsed, console);
  add_language(app, parsed, console);
  add_backup(app, parsed, console);
  add_key(app, parsed, console);
  add_top(app, parsed, console);
  try {
    arguments = join_wait(std::move(arguments));
    if (const auto dashes = std::ranges::find(arguments, "--"); dashes != arguments.end()) {
      parsed.trailing.assign(dashes + 1, arguments.end());
      arguments.erase(dashes, arguments.end());
    }
    std::ranges::reverse(arguments);  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& fault) {
    std::ostringstream out, err;
    if (app.exit(fault, out, err) == 0) {
      (void)console.out.write(out.str());
      return kExitOk;
    }
    const bool extras = dynamic_cast<const CLI::ExtrasError*>(&fault) != nullptr;
    const char* next = extras ? "arguments of the program that begin with - go after a --; --help lists our own"
                              : "--help, also after a command, lists what there is";
    return print_failure({kExitUsage, fault.what(), next, nullptr}, parsed.json, console);
  }
  const Expected<ExitCode> code = parsed.command();
  return code ? *code : print_failure(code.error(), parsed.json, console);
}

}  // namespace bailiff::cli
