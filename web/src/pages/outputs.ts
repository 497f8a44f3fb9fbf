// What one job printed, by the name of each log. It belongs to that job alone: an answer that comes after `signal` was aborted is dropped.
import { LogSource } from '../ansi/log';
import { call, contentBytes } from '../api/client';
import type { Content, Job, Part } from '../api/types';

type Kind = 'steps' | 'tests';
const STREAMS = ['stdout', 'stderr'] as const;
export type LogName = `${Kind}/${number}/${(typeof STREAMS)[number]}`;

const MAX_READ_BYTES = 4 * 1024 * 1024; // of an output that is shown; the rest is for the download

const isInline = (content: Content | null | undefined): content is Content =>
  typeof content === 'string' || (typeof content === 'object' && content !== null && 'base64' in content);

export class Outputs {
  #logs = new Map<LogName, LogSource>();
  #names: LogName[] = [];

  /** `onNames` is told which logs have something, whenever one more has. */
  constructor(
    readonly id: string,
    readonly signal: AbortSignal,
    readonly onNames: (names: LogName[]) => void,
  ) {}

  log(name: LogName): LogSource {
    let found = this.#logs.get(name);
    if (found === undefined) {
      found = new LogSource();
      this.#logs.set(name, found);
    }
    return found;
  }

  feed(name: LogName, offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0 || this.signal.aborted) return;
    this.log(name).pushAt(offset, bytes);
    if (this.#names.includes(name)) return;
    this.#names = [...this.#names, name];
    this.onNames(this.#names);
  }

  reset(): void {
    for (const one of this.#logs.values()) one.reset();
  }

  /** What the finished job holds of its outputs. Of a step, what is too large to be in it is read by its own address, one after another. */
  async readFinished(job: Job): Promise<void> {
    job.tests.forEach((test, index) => this.#takeInline('tests', index, test));
    job.steps.forEach((step, index) => this.#takeInline('steps', index, step));
    for (const [index, step] of job.steps.entries()) await this.#readMissing('steps', index, step);
  }

  /** The same of one test: there may be hundreds, so each is read when somebody looks at it. */
  async readTest(job: Job, index: number): Promise<void> {
    const test = job.tests[index];
    if (job.state === 'finished' && test !== undefined) await this.#readMissing('tests', index, test);
  }

  #takeInline(kind: Kind, index: number, part: Part | undefined): void {
    for (const stream of STREAMS) {
      const content = part?.[stream];
      if (isInline(content)) this.#complete(`${kind}/${index}/${stream}`, contentBytes(content));
    }
  }

  async #readMissing(kind: Kind, index: number, part: Part | undefined): Promise<void> {
    for (const stream of STREAMS) {
      if (part === undefined || isInline(part[stream]) || this.signal.aborted) continue;
      const name: LogName = `${kind}/${index}/${stream}`;
      this.#complete(name, await this.#read(name));
    }
  }

  /** All of an output: what was streamed of it stays, and what is missing is added. */
  #complete(name: LogName, bytes: Uint8Array): void {
    const known = this.log(name).bytes;
    if (known < bytes.length) this.feed(name, known, bytes.subarray(known));
  }

  async #read(name: LogName): Promise<Uint8Array> {
    try {
      const response = await call(`/v1/jobs/${this.id}/${name}`, { headers: { Range: `bytes=0-${MAX_READ_BYTES - 1}` }, signal: this.signal });
      return new Uint8Array(await response.arrayBuffer());
    } catch {
      return new Uint8Array(); // what was streamed stays; the download tells what is wrong
    }
  }
}
