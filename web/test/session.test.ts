import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Session, subprotocols } from '../src/terminal/session';
import { keep, readKept } from '../src/api/kept';

class Socket {
  static CONNECTING = 0;
  static OPEN = 1;
  static made: Socket[] = [];
  readyState = 0;
  sent: string[] = [];
  onopen: () => void = () => undefined;
  constructor() {
    Socket.made.push(this);
  }
  send(message: Uint8Array): void {
    this.sent.push(`${message[0]}${new TextDecoder().decode(message.subarray(1))}`);
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const deaf = { onOpen: () => undefined, onOutput: () => undefined, onEnd: () => undefined };

beforeEach(() => {
  Socket.made = [];
  vi.stubGlobal('WebSocket', Socket);
  vi.stubGlobal('location', { href: 'http://127.0.0.1:1/' });
  vi.stubGlobal('sessionStorage', { getItem: () => null });
});
afterEach(() => vi.unstubAllGlobals());

describe('a session', () => {
  it('sends what was typed before it was open, in order, behind the size', () => {
    const session = new Session('/x', { ...deaf, onOpen: () => session.control({ resize: 1 }) });
    session.send(bytes('a'));
    session.send(bytes('b'));
    session.send(new Uint8Array(100_000));
    const [socket] = Socket.made as [Socket];
    expect(socket.sent).toEqual([]);
    socket.readyState = Socket.OPEN;
    socket.onopen();
    session.send(bytes('c'));
    expect(socket.sent).toEqual(['3{"resize":1}', '0a', '0b', '0c']);
  });
  it('tells of a browser that refuses to connect', async () => {
    vi.stubGlobal('WebSocket', class {
      constructor() {
        throw new SyntaxError('no such protocol');
      }
    });
    const endings: unknown[] = [];
    const session = new Session('/x', { ...deaf, onEnd: (ending) => endings.push(ending) });
    session.send(bytes('a'));
    session.close();
    new Session('/x', { ...deaf, onEnd: (ending) => endings.push(ending) });
    await Promise.resolve();
    expect(endings).toEqual([{ error: 'no such protocol' }]);
  });
  it('gives a key as the name of a protocol, whatever is in it', () => {
    expect(subprotocols('')).toEqual([]);
    for (const key of ['sesame', 'a b,c=/+"', 'schl\u00fcssel \u{1f511}', '\u00ff\u00fe\u00ff~~~']) {
      const [name, protocol] = subprotocols(key) as [string, string];
      expect(name).toBe('bailiff');
      expect(protocol).toMatch(/^bailiff\.key\.[A-Za-z0-9_-]+$/);
      expect(Buffer.from(protocol.slice('bailiff.key.'.length), 'base64url').toString()).toBe(key);
    }
  });
});

describe('what a browser keeps', () => {
  it('is nothing where it may not, and nothing fails', () => {
    vi.stubGlobal('localStorage', new Proxy({}, { get: () => { throw new DOMException('denied', 'SecurityError'); } }));
    expect(readKept('local', 'x')).toBe(null);
    keep('local', 'x', 'y');
    vi.stubGlobal('localStorage', undefined);
    expect(readKept('local', 'x')).toBe(null);
  });
});
