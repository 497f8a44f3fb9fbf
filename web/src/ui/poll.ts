// A read that is repeated while the page is looked at.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, Reread } from '../api/client';
import { useKeyChanges } from './key';

export interface Polled<T> {
  value: T | undefined;
  error: unknown;
  refresh(): void;
}

/** `everyMs` 0: once. After an error it is tried again at a growing distance; what was read last stays. */
export function usePoll<T>(path: string | undefined, everyMs: number, onValue?: (value: T) => void): Polled<T> {
  const [value, setValue] = useState<T>();
  const [error, setError] = useState<unknown>();
  const [round, setRound] = useState(0);
  const key = useKeyChanges();
  const listener = useRef(onValue);
  listener.current = onValue;
  useEffect(() => setValue(undefined), [path]);
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    const source = new Reread<T>(path);
    let timer = 0;
    let failures = 0;
    const again = (ms: number): void => {
      timer = window.setTimeout(read, ms);
    };
    const read = async (): Promise<void> => {
      if (document.hidden && everyMs > 0) return again(1_000);
      try {
        const got = await source.read(stop.signal);
        failures = 0;
        setError(undefined);
        setValue(got.value);
        listener.current?.(got.value);
        if (everyMs > 0) again(everyMs);
      } catch (problem) {
        if (stop.signal.aborted) return;
        setError(problem);
        // What the server does not have, or this key may not see, will not come by asking again.
        if (problem instanceof ApiError && (problem.unsupported || problem.status === 401 || problem.status === 403)) return;
        again(Math.min(15_000, Math.max(everyMs, 1_000) * 2 ** Math.min(4, failures++)));
      }
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs, round, key]);
  const refresh = useCallback(() => setRound((n) => n + 1), []);
  return { value, error, refresh };
}

/** The time, for what says how long ago something was. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
