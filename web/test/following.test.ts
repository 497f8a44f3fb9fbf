import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { replaced, watchJob, type Watcher } from '../src/api/live';
import type { Job, Part, TestResult } from '../src/api/types';
import { decisivePart, present } from '../src/verdict';

const test = (name: string, verdict = 'accepted'): TestResult => ({ name, verdict }) as unknown as TestResult;

describe('tests that end in any order', () => {
  it('stay, whichever comes later', () => {
    let list: TestResult[] = [];
    for (const index of [2, 0, 1]) {
      list = replaced(list, index, test(String(index)));
      const job = { steps: [], tests: list } as unknown as Job;
      expect(present(list).length).toBe([2, 0, 1].indexOf(index) + 1);
      expect(decisivePart(job)?.name).toBe('2');
    }
    expect(list.map(({ name }) => name)).toEqual(['0', '1', '2']);
  });
  it('decide where one of them failed, past those that are missing', () => {
    const tests = replaced(replaced<TestResult>([], 3, test('3')), 1, test('1', 'wrong_answer'));
    expect((decisivePart({ steps: [], tests } as unknown as Job) as Part).name).toBe('1');
  });
});

interface Connection {
  headers: Record<string, string>;
  aborted: boolean;
  say(text: string): void;
}

describe('a stream of events', () => {
  let page: EventTarget & { hidden: boolean };
  let connections: Connection[];
  let refused: boolean;
  let state: string;
  let stop: AbortController;
  const looks: Watcher = { onJob: () => undefined, onOutput: () => undefined };

  const open = (init: RequestInit): Response => {
    const signal = init.signal as AbortSignal;
    let into: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (into = controller) });
    const one: Connection = { headers: init.headers as Record<string, string>, aborted: false, say: (text) => into.enqueue(new TextEncoder().encode(text)) };
    signal.addEventListener('abort', () => {
      if (!one.aborted) into.error(new DOMException('', 'AbortError'));
      one.aborted = true;
    });
    connections.push(one);
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  };

  beforeEach(() => {
    vi.useFakeTimers();
    page = Object.assign(new EventTarget(), { hidden: false });
    connections = [];
    refused = false;
    state = 'running';
    stop = new AbortController();
    vi.stubGlobal('document', page);
    vi.stubGlobal('sessionStorage', { getItem: () => null });
    vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
      if (!path.endsWith('/events')) return new Response(JSON.stringify({ id: 'a', state, attempt: 1, steps: [], tests: [] }));
      if (!refused) return open(init);
      connections.push({ headers: {}, aborted: true, say: () => undefined });
      throw new TypeError('refused');
    });
  });
  afterEach(() => {
    stop.abort();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  const show = (hidden: boolean): void => {
    page.hidden = hidden;
    page.dispatchEvent(new Event('visibilitychange'));
  };

  it('that is silent for long is opened again where it ended', async () => {
    watchJob('a', looks, stop.signal).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(10);
    connections[0]?.say('id: 7\nevent: step\ndata: {"index": 0, "name": "run", "state": "running"}\n\n');
    await vi.advanceTimersByTimeAsync(40_000);
    connections[0]?.say(':\n\n');
    await vi.advanceTimersByTimeAsync(40_000);
    expect(connections.map(({ aborted }) => aborted)).toEqual([false]);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(connections.map(({ aborted }) => aborted)).toEqual([true, false]);
    expect(connections[1]?.headers['Last-Event-ID']).toBe('7');
  });
  it('is closed while nobody looks, and goes on after', async () => {
    watchJob('a', looks, stop.signal).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(10);
    show(true);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(connections.map(({ aborted }) => aborted)).toEqual([true]);
    show(false);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(connections.map(({ aborted }) => aborted)).toEqual([true, false]);
  });
  it('is asked for at a growing distance where there is no server', async () => {
    refused = true;
    watchJob('a', looks, stop.signal).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(connections.length).toBeGreaterThan(7);
    expect(connections.length).toBeLessThan(16);
  });
  it('ends with its last event, and lets the connection go', async () => {
    const ended = watchJob('a', looks, stop.signal);
    await vi.advanceTimersByTimeAsync(10);
    state = 'finished';
    connections[0]?.say('event: done\ndata: {}\n\n');
    await vi.advanceTimersByTimeAsync(10);
    expect((await ended).state).toBe('finished');
    expect(connections.map(({ aborted }) => aborted)).toEqual([true]);
  });
});
