import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Job } from '../src/api/types';
import { type LogName, Outputs } from '../src/pages/outputs';

interface Asked {
  path: string;
  signal: AbortSignal;
  answer(text: string): void;
}

let asked: Asked[];
const turn = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

beforeEach(() => {
  asked = [];
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('sessionStorage', { getItem: () => null });
  vi.stubGlobal('fetch', (path: string, init: RequestInit) =>
    new Promise((resolve) => asked.push({ path, signal: init.signal as AbortSignal, answer: (text) => resolve(new Response(text)) })));
});
afterEach(() => vi.unstubAllGlobals());

const finished = (steps: object[], tests: object[] = []): Job => ({ id: 'a', state: 'finished', steps, tests }) as unknown as Job;

function watched(): { outputs: Outputs; stop: AbortController; names: () => LogName[] } {
  const stop = new AbortController();
  let names: LogName[] = [];
  return { outputs: new Outputs('a', stop.signal, (next) => (names = next)), stop, names: () => names };
}

describe('what a job printed', () => {
  it('is dropped where it comes after another job is looked at', async () => {
    const { outputs, stop, names } = watched();
    const read = outputs.readFinished(finished([{ stdout: { bytes: 9 }, stderr: '' }]));
    await turn();
    expect(asked.map(({ path }) => path)).toEqual(['/v1/jobs/a/steps/0/stdout']);
    stop.abort();
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.answer('of job a');
    await read;
    outputs.feed('steps/0/stderr', 0, new Uint8Array(3));
    expect(names()).toEqual([]);
    expect(asked.length).toBe(1);
  });
  it('is read one after another, and of tests only what is asked for', async () => {
    const { outputs, names } = watched();
    const large = { stdout: { bytes: 9 }, stderr: { bytes: 9 } };
    const job = finished([large, { stdout: 'within', stderr: '' }], [large, { stdout: 'small', stderr: '' }, large]);
    const read = outputs.readFinished(job);
    await turn();
    expect(names()).toEqual(['tests/1/stdout', 'steps/1/stdout']);
    expect(asked.map(({ path }) => path)).toEqual(['/v1/jobs/a/steps/0/stdout']);
    asked[0]?.answer('out');
    await turn();
    expect(asked.map(({ path }) => path)).toEqual(['/v1/jobs/a/steps/0/stdout', '/v1/jobs/a/steps/0/stderr']);
    asked[1]?.answer('err');
    await read;
    expect(asked.length).toBe(2);
    const test = outputs.readTest(job, 2);
    await turn();
    expect(asked[2]?.path).toBe('/v1/jobs/a/tests/2/stdout');
    asked[2]?.answer('of the test');
    await turn();
    asked[3]?.answer('');
    await test;
    expect(outputs.log('tests/2/stdout').bytes).toBe('of the test'.length);
    expect(asked.length).toBe(4);
  });
  it('keeps what was streamed and adds what is missing', async () => {
    const { outputs } = watched();
    outputs.feed('steps/0/stdout', 0, new TextEncoder().encode('begun'));
    await outputs.readFinished(finished([{ stdout: 'begun and ended', stderr: '' }]));
    expect(outputs.log('steps/0/stdout').bytes).toBe('begun and ended'.length);
    expect(outputs.log('steps/0/stdout').screen.lines[0]?.spans[0]?.text).toBe('begun and ended');
  });
});
