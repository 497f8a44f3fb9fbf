// Watches a job until it ends: its state, its steps and its output as it comes. Server-Sent Events where the server has them; else it
// asks again and again, which shows the same a little later.
import { ApiError, authorization, call, contentBytes, Reread } from './client';
import { EventParser, type ServerEvent } from './sse';
import type { Content, Job, JobState, Step, TestResult } from './types';

export type StreamName = 'stdout' | 'stderr';

export interface Output {
  /** "steps" or "tests", and which of them. */
  part: 'steps' | 'tests';
  index: number;
  stream: StreamName;
  /** Where the bytes stand in the stream. 0 again: another attempt began, and what came before is void. */
  offset: number;
  bytes: Uint8Array;
}

export interface Watcher {
  onJob(job: Job): void;
  onOutput(output: Output): void;
  /** The step that runs now, where the server tells. */
  onStep?(step: { index: number; name: string }): void;
  /** How it is watched: for the tests, and for who wonders why output comes in lumps. */
  onSource?(source: 'events' | 'polling'): void;
}

const POLL_MS = 400;
const SLOWEST_POLL_MS = 3_000;
const RECONNECT_MS = 500;
const SLOWEST_RECONNECT_MS = 15_000;
const SILENCE_MS = 45_000; // a server that is there says something every 15 s, if only that it is
const MAX_SLICE_BYTES = 256 * 1024;

/** Rejects with ApiError where the job is not there, and with AbortError when `signal` says so. A lost server is waited for. */
export async function watchJob(id: string, watcher: Watcher, signal: AbortSignal): Promise<Job> {
  const first = await patiently(() => new Reread<Job>(`/v1/jobs/${id}`).read(signal), signal);
  watcher.onJob(first.value);
  if (first.value.state === 'finished') return first.value;
  const events = new EventWatch(first.value, watcher, signal);
  const supported = await events.run();
  if (!supported) await new PollWatch(id, watcher, signal).run();
  const last = await patiently(() => new Reread<Job>(`/v1/jobs/${id}`).read(signal), signal);
  watcher.onJob(last.value);
  return last.value;
}

async function patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let wait = POLL_MS; ; wait = Math.min(SLOWEST_POLL_MS, wait * 2)) {
    try {
      return await read();
    } catch (error) {
      const again = error instanceof ApiError && (error.unreachable || error.status === 503 || error.status === 429);
      if (!again) throw error;
      await pause(wait, signal);
    }
  }
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new DOMException('stopped', 'AbortError'));
    const stop = (): void => {
      clearTimeout(timer);
      reject(new DOMException('stopped', 'AbortError'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** At once where the page is looked at. */
function whenVisible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new DOMException('stopped', 'AbortError'));
    if (!document.hidden) return resolve();
    const done = (): void => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', done);
      signal.removeEventListener('abort', done);
      if (signal.aborted) reject(new DOMException('stopped', 'AbortError'));
      else resolve();
    };
    document.addEventListener('visibilitychange', done);
    signal.addEventListener('abort', done);
  });
}

interface OutputEvent {
  step: number;
  offset: number;
  data: Content;
}

class EventWatch {
  #position = '';
  #ended = false;
  #heard = false; // on this connection
  #job: Job;
  constructor(
    job: Job,
    readonly watcher: Watcher,
    readonly signal: AbortSignal,
  ) {
    this.#job = job;
  }

  /** False where the server has no events. */
  async run(): Promise<boolean> {
    for (let wait = RECONNECT_MS; ; wait = this.#heard ? RECONNECT_MS : Math.min(SLOWEST_RECONNECT_MS, wait * 2)) {
      await whenVisible(this.signal);
      this.#heard = false;
      try {
        await this.#connect();
      } catch (error) {
        if (this.signal.aborted) throw error;
        if (error instanceof ApiError && (error.unsupported || error.status === 406)) return false;
        if (error instanceof ApiError && !error.unreachable && error.status < 500 && error.status !== 429) throw error;
      }
      if (this.#ended) return true;
      await pause(this.#heard ? RECONNECT_MS : wait, this.signal);
    }
  }

  /** One connection. It ends with us, with a server that is silent, and while nobody looks: a browser has six of them for all its tabs. */
  async #connect(): Promise<void> {
    const connection = new AbortController();
    const end = (): void => connection.abort();
    const onVisibility = (): void => void (document.hidden && end());
    let watchdog = setTimeout(end, SILENCE_MS);
    this.signal.addEventListener('abort', end);
    document.addEventListener('visibilitychange', onVisibility);
    try {
      await this.#read(connection.signal, () => {
        clearTimeout(watchdog);
        watchdog = setTimeout(end, SILENCE_MS);
      });
    } finally {
      clearTimeout(watchdog);
      end();
      this.signal.removeEventListener('abort', end);
      document.removeEventListener('visibilitychange', onVisibility);
    }
  }

  async #read(signal: AbortSignal, onBytes: () => void): Promise<void> {
    const headers: Record<string, string> = { ...authorization(), Accept: 'text/event-stream' };
    if (this.#position !== '') headers['Last-Event-ID'] = this.#position;
    const response = await call(`/v1/jobs/${this.#job.id}/events`, { headers, signal, deadlineMs: 0 });
    this.watcher.onSource?.('events');
    if (response.status === 204) {
      this.#ended = true; // all of it was told on an earlier connection
      return;
    }
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    while (!this.#ended) { // after the last event, whatever stands between may keep the connection open
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      this.#heard = true;
      for (const event of parser.push(decoder.decode(value, { stream: true }))) this.#take(event);
    }
  }

  #take(event: ServerEvent): void {
    if (event.id !== '') this.#position = event.id;
    const data: unknown = JSON.parse(event.data);
    if (event.type === 'stdout' || event.type === 'stderr') {
      const output = data as OutputEvent;
      const { step: index, offset } = output;
      this.watcher.onOutput({ part: 'steps', index, stream: event.type, offset, bytes: contentBytes(output.data) });
    } else if (event.type === 'state') {
      const { state, attempt, paused } = data as { state: JobState; attempt: number; paused?: boolean };
      if (state === 'finished') return; // `done` follows, and then the job is read with its outputs
      const again = attempt !== this.#job.attempt;
      this.#change({ state, attempt, paused: paused ?? false, ...(again ? { steps: [], tests: [] } : {}) });
    } else if (event.type === 'step') {
      const step = data as Step & { index: number; state: string };
      if (step.state === 'finished') this.#change({ steps: replaced(this.#job.steps, step.index, step) });
      else this.watcher.onStep?.({ index: step.index, name: step.name });
    } else if (event.type === 'test') {
      const test = data as TestResult & { index: number };
      this.#change({ tests: replaced(this.#job.tests, test.index, test) });
    } else if (event.type === 'done') {
      this.#ended = true;
    }
  }

  #change(part: Partial<Job>): void {
    this.#job = { ...this.#job, ...part };
    this.watcher.onJob(this.#job);
  }
}

/** Tests end in any order: one that is not there yet leaves a gap, which reads as undefined. */
export function replaced<T>(list: T[], index: number, item: T): T[] {
  const next = [...list];
  next[index] = item;
  return Array.from(next);
}

class PollWatch {
  #offsets = new Map<string, number>();
  #step = 0;
  constructor(
    readonly id: string,
    readonly watcher: Watcher,
    readonly signal: AbortSignal,
  ) {}

  async run(): Promise<void> {
    this.watcher.onSource?.('polling');
    const job = new Reread<Job>(`/v1/jobs/${this.id}`);
    for (;;) {
      const { value, changed } = await patiently(() => job.read(this.signal, { Prefer: 'wait=0' }), this.signal);
      if (value.state === 'finished') return;
      if (changed) this.watcher.onJob(value);
      if (value.state === 'running') await this.#readOutputs();
      await pause(POLL_MS, this.signal);
    }
  }

  async #readOutputs(): Promise<void> {
    while (await this.#readStep(this.#step + 1)) ++this.#step; // a later one has begun: what the earlier wrote is complete
    await this.#readStep(this.#step);
  }

  async #readStep(index: number): Promise<boolean> {
    const there = await Promise.all([this.#readStream(index, 'stdout'), this.#readStream(index, 'stderr')]);
    return there.some((one) => one);
  }

  /** True where the part has that stream by now. */
  async #readStream(index: number, stream: StreamName): Promise<boolean> {
    const name = `${index}/${stream}`;
    const offset = this.#offsets.get(name) ?? 0;
    try {
      const range = `bytes=${offset}-${offset + MAX_SLICE_BYTES - 1}`;
      const response = await call(`/v1/jobs/${this.id}/steps/${name}`, { headers: { Range: range }, signal: this.signal });
      if (response.status !== 206) return true; // empty so far
      const bytes = new Uint8Array(await response.arrayBuffer());
      this.#offsets.set(name, offset + bytes.length);
      if (bytes.length > 0) this.watcher.onOutput({ part: 'steps', index, stream, offset, bytes });
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return error.status === 416; // all is read that there is
    }
  }
}
