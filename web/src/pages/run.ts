// One run as a page follows it: the job, what it prints, and how it ends.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { LogSource } from '../ansi/log';
import { call, contentBytes } from '../api/client';
import { watchJob, type Watcher } from '../api/live';
import type { Content, Job } from '../api/types';

export type LogName = `${'steps' | 'tests'}/${number}/${'stdout' | 'stderr'}`;

export interface Run {
  job: Job | undefined;
  error: unknown;
  /** The step that runs, where the server tells. */
  step: { index: number; name: string } | undefined;
  log(name: LogName): LogSource;
  /** The logs that have something, in order. */
  names: LogName[];
  source: 'events' | 'polling' | undefined;
}

/** Follows the job with this id, from wherever it stands. */
export function useRun(id: string | undefined): Run {
  const [job, setJob] = useState<Job>();
  const [error, setError] = useState<unknown>();
  const [step, setStep] = useState<{ index: number; name: string }>();
  const [source, setSource] = useState<'events' | 'polling'>();
  const logs = useRef(new Map<LogName, LogSource>());
  const [names, setNames] = useState<LogName[]>([]);

  const log = useCallback((name: LogName): LogSource => {
    let found = logs.current.get(name);
    if (found === undefined) {
      found = new LogSource();
      logs.current.set(name, found);
    }
    return found;
  }, []);
  const feed = useCallback((name: LogName, offset: number, bytes: Uint8Array) => {
    if (bytes.length === 0) return;
    log(name).pushAt(offset, bytes);
    setNames((known) => (known.includes(name) ? known : [...known, name]));
  }, []);
  /** All of an output: what was streamed of it stays, and what is missing is added. */
  const complete = useCallback((name: LogName, bytes: Uint8Array) => {
    const known = log(name).bytes;
    if (known < bytes.length) feed(name, known, bytes.subarray(known));
  }, []);

  useEffect(() => {
    logs.current = new Map();
    setJob(undefined);
    setError(undefined);
    setStep(undefined);
    setNames([]);
    if (id === undefined) return;
    const stop = new AbortController();
    let attempt = 0;
    const watcher: Watcher = {
      onJob: (next: Job) => {
        if (next.attempt !== attempt) for (const one of logs.current.values()) one.reset();
        attempt = next.attempt;
        setJob(next);
        if (next.state === 'finished') readOutputs(next, complete);
      },
      onOutput: ({ part, index, stream, offset, bytes }) => feed(`${part}/${index}/${stream}`, offset, bytes),
      onStep: setStep,
      onSource: setSource,
    };
    watchJob(id, watcher, stop.signal).catch((problem: unknown) => {
      if (!stop.signal.aborted) setError(problem);
    });
    return () => stop.abort();
  }, [id]);

  return { job, error, step, log, names, source };
}

type Complete = (name: LogName, bytes: Uint8Array) => void;

/** What the finished job holds of its outputs; one that is too large to be in it is read by its own address. */
function readOutputs(job: Job, complete: Complete): void {
  for (const kind of ['steps', 'tests'] as const)
    job[kind].forEach((part, index) => {
      for (const stream of ['stdout', 'stderr'] as const) {
        const content = part[stream];
        const name: LogName = `${kind}/${index}/${stream}`;
        if (isInline(content)) complete(name, contentBytes(content));
        else void readOutput(job.id, name).then((bytes) => complete(name, bytes));
      }
    });
}

const isInline = (content: Content | null | undefined): content is Content =>
  typeof content === 'string' || (typeof content === 'object' && content !== null && 'base64' in content);

const MAX_READ_BYTES = 4 * 1024 * 1024; // of an output that is shown; the rest is for the download

async function readOutput(id: string, name: LogName): Promise<Uint8Array> {
  try {
    const response = await call(`/v1/jobs/${id}/${name}`, { headers: { Range: `bytes=0-${MAX_READ_BYTES - 1}` } });
    return new Uint8Array(await response.arrayBuffer());
  } catch {
    return new Uint8Array(); // what was streamed stays; the download tells what is wrong
  }
}
