// Calls of the HTTP API. Every failure is an ApiError, so that pages have one thing to show; every call has a deadline.
import { keep, readKept } from './kept';
import type { Content, Job, JobRequest, Problem } from './types';

const KEY_NAME = 'bailiff.key';
const DEADLINE_MS = 30_000;

/** What went wrong with a call. `status` 0: no answer came, the server cannot be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly errors: { pointer: string; detail: string }[] = [],
  ) {
    super(message);
  }
  get unreachable(): boolean {
    return this.status === 0;
  }
  /** The server has no such call: an older or a smaller one. */
  get unsupported(): boolean {
    return this.status === 404 || this.status === 405 || this.status === 501;
  }
}

let unkept = ''; // the key, where the browser keeps nothing
/** The API key of this tab. It is forgotten with the tab, and never part of an address. */
export const apiKey = {
  get: (): string => readKept('session', KEY_NAME) ?? unkept,
  set(key: string): void {
    unkept = key;
    keep('session', KEY_NAME, key);
    for (const listener of keyListeners) listener();
  },
};
const keyListeners = new Set<() => void>();
export function onKeyChange(listener: () => void): () => void {
  keyListeners.add(listener);
  return () => keyListeners.delete(listener);
}

type Reachability = 'online' | 'offline';
const reachListeners = new Set<(state: Reachability) => void>();
let reach: Reachability = 'online';
/** Tells whether the last call found the server. */
export function onReachability(listener: (state: Reachability) => void): () => void {
  reachListeners.add(listener);
  listener(reach);
  return () => reachListeners.delete(listener);
}
function noteReach(state: Reachability): void {
  if (state === reach) return;
  reach = state;
  for (const listener of reachListeners) listener(state);
}

export interface CallOptions {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** 0: no deadline, for answers that stream. */
  deadlineMs?: number;
}

export function authorization(): Record<string, string> {
  const key = apiKey.get();
  return key === '' ? {} : { Authorization: `Bearer ${key}` };
}

async function problemOf(response: Response): Promise<ApiError> {
  let problem: Partial<Problem> = {};
  try {
    problem = (await response.json()) as Problem;
  } catch {
    // No problem document: a proxy answered, or the connection ended. The status says what is known.
  }
  const message = problem.detail ?? problem.title ?? `the server answered ${response.status}`;
  return new ApiError(response.status, message, problem.errors ?? []);
}

/** The raw answer of a good call. Rejects with ApiError, or with AbortError where `signal` was used. */
export async function call(path: string, options: CallOptions = {}): Promise<Response> {
  const { method = 'GET', body, headers = {}, signal, deadlineMs = DEADLINE_MS } = options;
  const signals = [signal, deadlineMs > 0 ? AbortSignal.timeout(deadlineMs) : undefined].filter((one) => one !== undefined);
  const init: RequestInit = { method, headers: { ...authorization(), ...headers }, credentials: 'same-origin', cache: 'no-store' };
  if (signals.length > 0) init.signal = anyOf(signals);
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, 'Content-Type': 'application/json' };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted === true) throw error;
    noteReach('offline');
    throw new ApiError(0, 'the server cannot be reached');
  }
  noteReach('online');
  if (!response.ok && response.status !== 304) throw await problemOf(response);
  return response;
}

/** AbortSignal.any, and what comes near it in browsers that are older. */
function anyOf(signals: AbortSignal[]): AbortSignal {
  if (signals.length === 1) return signals[0] as AbortSignal;
  const any = (AbortSignal as { any?: (signals: AbortSignal[]) => AbortSignal }).any;
  if (any !== undefined) return any.call(AbortSignal, signals);
  const both = new AbortController();
  for (const one of signals) {
    if (one.aborted) both.abort(one.reason);
    else one.addEventListener('abort', () => both.abort(one.reason), { once: true, signal: both.signal });
  }
  return both.signal;
}

export async function json<T>(path: string, options: CallOptions = {}): Promise<T> {
  const response = await call(path, options);
  return (await response.json()) as T;
}

/** A read that is repeated: sends the tag it got last, and tells by `changed` whether anything is new. */
export class Reread<T> {
  #tag = '';
  #value: T | undefined;
  constructor(readonly path: string) {}
  async read(signal?: AbortSignal, headers: Record<string, string> = {}): Promise<{ value: T; changed: boolean }> {
    const conditional: Record<string, string> = this.#tag === '' ? headers : { ...headers, 'If-None-Match': this.#tag };
    const response = await call(this.path, { headers: conditional, signal });
    if (response.status === 304 && this.#value !== undefined) return { value: this.#value, changed: false };
    this.#value = (await response.json()) as T;
    this.#tag = response.headers.get('ETag') ?? '';
    return { value: this.#value, changed: true };
  }
}

export const createJob = (request: JobRequest): Promise<Job> => json<Job>('/v1/jobs', { method: 'POST', body: request });
export const act = (id: string, action: 'cancel' | 'pause' | 'resume'): Promise<Job> =>
  json<Job>(`/v1/jobs/${id}:${action}`, { method: 'POST' });

/** Forgets a finished job. */
export const deleteJob = async (id: string): Promise<void> => void (await call(`/v1/jobs/${id}`, { method: 'DELETE' }));

export function contentBytes(content: Content | null | undefined): Uint8Array {
  if (content === null || content === undefined) return new Uint8Array();
  if (typeof content === 'string') return new TextEncoder().encode(content);
  if (!('base64' in content)) return new Uint8Array();
  const text = atob(content.base64);
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export const contentText = (content: Content | null | undefined): string =>
  typeof content === 'string' ? content : new TextDecoder().decode(contentBytes(content));

/** Saves an answer as a file. A plain link could not carry the key. */
export async function download(path: string, name: string): Promise<void> {
  const response = await call(path, { deadlineMs: 0 });
  const url = URL.createObjectURL(new Blob([await response.blob()], { type: 'application/octet-stream' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
