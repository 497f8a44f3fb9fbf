import { describe, expect, it } from 'vitest';
import { controlMessage, endingOf, MAX_MESSAGE_BYTES, parseMessage, stdinMessages } from '../src/api/channel';
import { EventParser } from '../src/api/sse';

describe('server-sent events', () => {
  const stream = 'id: 1\nevent: state\ndata: {"a": 1}\n\n: a comment\n\ndata: x\r\ndata:  y\r\n\r\nid: 7\nevent: done\ndata: {}\n\n';
  const expected = [
    { type: 'state', data: '{"a": 1}', id: '1' },
    { type: 'message', data: 'x\n y', id: '1' },
    { type: 'done', data: '{}', id: '7' },
  ];
  it('are whole, however the text was cut', () => {
    for (let cut = 0; cut <= stream.length; ++cut) {
      const parser = new EventParser();
      expect([...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))]).toEqual(expected);
    }
  });
  it('that are not ended are not told', () => {
    expect(new EventParser().push('data: x\n')).toEqual([]);
  });
});

describe('messages beside a job', () => {
  it('carry their channel in the first byte', () => {
    expect([...(stdinMessages(new Uint8Array([65, 66]))[0] ?? [])]).toEqual([0, 65, 66]);
    const resize = controlMessage({ resize: { rows: 24, cols: 80 } });
    expect(resize[0]).toBe(3);
    expect(parseMessage(resize.buffer as ArrayBuffer)).toEqual({ channel: 'control', control: { resize: { rows: 24, cols: 80 } } });
  });
  it('are cut to what a server takes', () => {
    const messages = stdinMessages(new Uint8Array(3 * MAX_MESSAGE_BYTES));
    expect(messages.every((message) => message.length <= MAX_MESSAGE_BYTES)).toBe(true);
    expect(messages.reduce((sum, message) => sum + message.length - 1, 0)).toBe(3 * MAX_MESSAGE_BYTES);
  });
  it('that make no sense are nothing', () => {
    expect(parseMessage(new Uint8Array([]).buffer)).toBeUndefined();
    expect(parseMessage(new Uint8Array([9, 1]).buffer)).toBeUndefined();
    expect(parseMessage(new Uint8Array([3, 123]).buffer)).toBeUndefined();
    expect(parseMessage(new TextEncoder().encode('\x03null').buffer as ArrayBuffer)).toBeUndefined();
  });
  it('tell how a command ended', () => {
    expect(endingOf({ exit_code: 3 })).toEqual({ exit_code: 3 });
    expect(endingOf({ signal: 9 })).toEqual({ signal: 9 });
    expect(endingOf({ error: 'no' })).toEqual({ error: 'no' });
    expect(endingOf({ verdict: 'ok', exit_code: 0, signal: null })).toEqual({ exit_code: 0 });
    expect(endingOf({ verdict: 'time_limit_exceeded', exit_code: null, signal: null })).toEqual({ closed: 'time limit exceeded' });
    expect(endingOf({ exit_code: 'x' })).toBeUndefined();
  });
});
