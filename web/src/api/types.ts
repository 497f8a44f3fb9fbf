// The documents of the HTTP API (docs/api.md) that the pages read. A field that an older server does not send is optional.

/** Bytes as the API tells them: a string where they are UTF-8, base64 or a blob's digest where they are not. */
export type Content = string | { base64: string } | { blob: string };

export type JobState = 'queued' | 'running' | 'finished';

export type Verdict =
  | 'ok'
  | 'accepted'
  | 'wrong_answer'
  | 'compile_error'
  | 'runtime_error'
  | 'time_limit_exceeded'
  | 'wall_time_limit_exceeded'
  | 'memory_limit_exceeded'
  | 'output_limit_exceeded'
  | 'cancelled'
  | 'internal_error';

export const VERDICTS: readonly Verdict[] = [
  'ok',
  'accepted',
  'wrong_answer',
  'compile_error',
  'runtime_error',
  'time_limit_exceeded',
  'wall_time_limit_exceeded',
  'memory_limit_exceeded',
  'output_limit_exceeded',
  'cancelled',
  'internal_error',
];

export interface Part {
  name: string;
  verdict: Verdict | null;
  exit_code: number | null;
  signal: number | null;
  message?: string | null;
  cpu_time_ms: number;
  cpu_user_ms?: number;
  cpu_system_ms?: number;
  wall_time_ms: number;
  memory_peak_bytes: number;
  processes_peak?: number;
  stdout?: Content | null;
  stderr?: Content | null;
  stdout_truncated?: boolean;
  stderr_truncated?: boolean;
  evidence?: Record<string, unknown>;
}

export type Step = Part;

export interface TestResult extends Part {
  points: number;
  checker_message?: string | null;
}

export interface Artifact {
  path: string;
  bytes: number;
  digest?: string;
}

export interface Job {
  id: string;
  state: JobState;
  paused?: boolean;
  verdict: Verdict | null;
  message: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  attempt: number;
  language: string | null;
  image: string | null;
  image_digest: string | null;
  labels: Record<string, string>;
  priority: number;
  steps: Step[];
  tests: TestResult[];
  score: number | null;
  artifacts: Artifact[];
}

export type Limits = Record<string, number>;

export interface JobRequest {
  language?: string;
  source?: Content;
  image?: string;
  steps?: { name: string; command: string[] | string; limits?: Limits }[];
  files?: Record<string, Content>;
  args?: string[];
  stdin?: Content;
  env?: Record<string, string>;
  limits?: Limits;
  interactive?: boolean | { tty: boolean };
  labels?: Record<string, string>;
  tests?: { name: string; stdin?: Content; expected?: Content; limits?: Limits; points?: number }[];
  [other: string]: unknown;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface Language {
  name: string;
  title: string;
  aliases: string[];
  version: string | null;
  image: string;
  image_digest: string | null;
  source_file: string;
  compile: string[] | null;
  run: string[];
  limits: Limits;
  hello?: string;
}

export interface Image {
  name: string;
  digest?: string | null;
  bytes?: number | null;
  disk_bytes?: number | null;
  [other: string]: unknown;
}

export interface Slot {
  index: number;
  state: 'idle' | 'busy' | 'dead';
  job: string | null;
}

export interface Capability {
  name: string;
  present: boolean;
  detail: string;
}

export interface System {
  version: string;
  ready: boolean;
  host: { system: string; kernel: string; machine: string } | null;
  cgroup: { version: string; driver: string };
  capabilities: Capability[];
  slots: Slot[];
  queue: { queued: number; running: number; bound: number };
  limits: { default: Limits; compile_default: Limits; ceiling: Limits };
}

export interface Namespaces {
  job: string;
  step?: { index: number; name: string };
  test?: { index: number; name: string };
  slot: number;
  namespaces: { type: string; inode: number; owner_uid: number | null; owner: number | null; parent: number | null }[];
  cgroups: { controllers: string[]; path: string }[];
  memory_bytes: number;
  processes_now: number;
  processes: { pid: number; host_pid: number; name: string }[];
  processes_truncated: boolean;
}

export interface ApiKey {
  id: string;
  name: string;
  scopes: string[];
  weight: number;
  max_queued_jobs: number | null;
  max_running_jobs: number | null;
  max_stored_bytes: number | null;
  max_cpu_ms_per_hour: number | null;
  stored_bytes: number;
  cpu_ms_this_hour: number;
  created_at: string;
  revoked_at: string | null;
}

export interface Problem {
  title: string;
  status: number;
  detail: string;
  errors?: { pointer: string; detail: string }[];
}
