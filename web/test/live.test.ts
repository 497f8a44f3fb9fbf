import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchJob, type Watcher } from '../src/api/live';
import type { Job } from '../src/api/types';

const running: Job = {
  id: 'j', state: 'running', verdict: null, message: null, created_at: '', started_at: '', finished_at: null, attempt: 1, language: 'python', image: 'host',
  image_digest: null, labels: {}, priority: 0, steps: [], tests: [], score: null, artifacts: [],
};
const finished: Job = { ...running, state: 'finished', verdict: 'ok' };

const event = (type: string, id: string, data: object): string => `event: ${type}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
const json = (value: unknown): Response => new Response(JSON.stringify(value), { headers: { 'Content-Type': 'application/json' } });
const problem = (status: number): Response => new Response(JSON.stringify({ title: 'x', status, detail: 'no' }), { status });

/** Bytes that end the connection, or keep it open. */
function stream(text: string, open = false): Response {
  return new Response(new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      if (!open) controller.close();
    },
  }));
}

interface Asked {
  path: string;
  headers: Record<string, string>;
}

function serve(answers: (asked: Asked, round: number) => Response): Asked[] {
  const asked: Asked[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const one = { path, headers: init.headers as Record<string, string> };
    asked.push(one);
    return Promise.resolve(answers(one, asked.filter((other) => other.path === path).length));
  });
  return asked;
}

function watcher(): Watcher & { text: string; offsets: number[]; steps: string[]; source: string } {
  const seen = {
    text: '', offsets: [] as number[], steps: [] as string[], source: '',
    onJob: () => undefined,
    onOutput: ({ bytes, offset }: { bytes: Uint8Array; offset: number }) => {
      seen.text += new TextDecoder().decode(bytes);
      seen.offsets.push(offset);
    },
    onStep: ({ name }: { name: string }) => seen.steps.push(name),
    onSource: (source: string) => (seen.source = source),
  };
  return seen;
}

beforeEach(() => vi.stubGlobal('sessionStorage', { getItem: () => 'sesame', setItem: () => undefined, removeItem: () => undefined }));
afterEach(() => vi.unstubAllGlobals());

describe('a job that is followed', () => {
  it('by its events goes on where a connection ended, without loss or repeat', async () => {
    const seen = watcher();
    const asked = serve(({ path }, round) => {
      if (!path.endsWith('/events')) return json(round === 1 ? running : finished);
      if (round === 1)
        return stream(event('state', '1', { state: 'running', attempt: 1 }) + event('step', '2', { index: 0, name: 'run', state: 'running' }) +
          event('stdout', '3', { step: 0, offset: 0, data: 'one ' }));
      return stream(event('stdout', '4', { step: 0, offset: 4, data: { base64: btoa('two') } }) + event('step', '5', { index: 0, name: 'run', state: 'finished', verdict: 'ok' }) +
        event('state', '6', { state: 'finished', attempt: 1, verdict: 'ok' }) + event('done', '7', { id: 'j' }), true);
    });
    const last = await watchJob('j', seen, new AbortController().signal);
    expect(last.verdict).toBe('ok');
    expect(seen).toMatchObject({ text: 'one two', offsets: [0, 4], steps: ['run'], source: 'events' });
    const events = asked.filter(({ path }) => path.endsWith('/events'));
    expect(events.map(({ headers }) => headers['Last-Event-ID'])).toEqual([undefined, '3']);
    expect(events[0]?.headers['Authorization']).toBe('Bearer sesame');
  });

  it('is asked for its outputs where the server has no events', async () => {
    const seen = watcher();
    serve(({ path, headers }, round) => {
      if (path.endsWith('/events')) return problem(404);
      if (path === '/v1/jobs/j') return json(round < 4 ? running : finished);
      if (path.includes('/steps/1/') || path.endsWith('stderr')) return problem(404);
      const from = Number(/bytes=(\d+)-/.exec(headers['Range'] ?? '')?.[1]);
      return from < 6 ? new Response('abcdef'.slice(from, from + 3), { status: 206 }) : problem(416);
    });
    await watchJob('j', seen, new AbortController().signal);
    expect(seen).toMatchObject({ text: 'abcdef', offsets: [0, 3], source: 'polling' });
  });

  it('that has ended already is told at once', async () => {
    const asked = serve(() => json(finished));
    await watchJob('j', watcher(), new AbortController().signal);
    expect(asked.length).toBe(1);
  });

  it('that is not there is an error, and is not asked for again', async () => {
    const asked = serve(() => problem(404));
    await expect(watchJob('j', watcher(), new AbortController().signal)).rejects.toMatchObject({ status: 404 });
    expect(asked.length).toBe(1);
  });

  it('whose events are all told is over', async () => {
    serve(({ path }, round) => (path.endsWith('/events') ? new Response(null, { status: 204 }) : json(round === 1 ? running : finished)));
    const last = await watchJob('j', watcher(), new AbortController().signal);
    expect(last.state).toBe('finished');
  });
});
