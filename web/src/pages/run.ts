// One run as a page follows it: the job, what it prints, and how it ends.
import { useEffect, useState } from 'preact/hooks';
import { LogSource } from '../ansi/log';
import { watchJob, type Watcher } from '../api/live';
import type { Job } from '../api/types';
import { type LogName, Outputs } from './outputs';

export type { LogName } from './outputs';

export interface Run {
  job: Job | undefined;
  error: unknown;
  /** The step that runs, where the server tells. */
  step: { index: number; name: string } | undefined;
  log(name: LogName): LogSource;
  /** The logs that have something, in order. */
  names: LogName[];
  /** Asks for what a test printed, where the job does not hold it. */
  readTest(index: number): void;
  source: 'events' | 'polling' | undefined;
}

/** Follows the job with this id, from wherever it stands. */
export function useRun(id: string | undefined): Run {
  const [job, setJob] = useState<Job>();
  const [error, setError] = useState<unknown>();
  const [step, setStep] = useState<{ index: number; name: string }>();
  const [source, setSource] = useState<'events' | 'polling'>();
  const [outputs, setOutputs] = useState<Outputs>();
  const [names, setNames] = useState<LogName[]>([]);

  useEffect(() => {
    setJob(undefined);
    setError(undefined);
    setStep(undefined);
    setNames([]);
    setOutputs(undefined);
    if (id === undefined) return;
    const stop = new AbortController();
    const held = new Outputs(id, stop.signal, setNames);
    setOutputs(held);
    let attempt = 0;
    const watcher: Watcher = {
      onJob: (next: Job) => {
        if (stop.signal.aborted) return;
        if (next.attempt !== attempt) held.reset();
        attempt = next.attempt;
        setJob(next);
        if (next.state === 'finished') void held.readFinished(next);
      },
      onOutput: ({ part, index, stream, offset, bytes }) => held.feed(`${part}/${index}/${stream}`, offset, bytes),
      onStep: (next) => stop.signal.aborted || setStep(next),
      onSource: (next) => stop.signal.aborted || setSource(next),
    };
    watchJob(id, watcher, stop.signal).catch((problem: unknown) => {
      if (!stop.signal.aborted) setError(problem);
    });
    return () => stop.abort();
  }, [id]);

  const log = (name: LogName): LogSource => outputs?.log(name) ?? NOTHING;
  const readTest = (index: number): void => {
    if (job !== undefined) void outputs?.readTest(job, index);
  };
  return { job, error, step, log, names, readTest, source };
}

const NOTHING = new LogSource();
