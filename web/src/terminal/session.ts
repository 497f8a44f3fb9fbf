// One WebSocket beside a job: a command in its sandbox (exec), or the program's own streams (attach).
import { apiKey } from '../api/client';
import { controlMessage, type Ending, endingOf, parseMessage, stdinMessages } from '../api/channel';

const MAX_EARLY_BYTES = 64 * 1024;

export interface SessionEvents {
  onOpen(): void;
  onBegin?(): void; // of an interactive program: its output is a terminal's from here on
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  onEnd(ending: Ending): void;
}

export class Session {
  #socket: WebSocket | undefined;
  #ended = false;
  #early: Uint8Array[] = []; // typed before it was open
  #earlyBytes = 0;

  constructor(path: string, events: SessionEvents) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, subprotocols(apiKey.get()));
    } catch (problem) {
      // The browser refuses to connect at all. The one who asked has no session yet, so it is told a moment later.
      queueMicrotask(() => this.#end(events, { error: problem instanceof Error ? problem.message : String(problem) }));
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      events.onOpen();
      for (const bytes of this.#early.splice(0)) this.send(bytes);
    };
    socket.onmessage = (message: MessageEvent<ArrayBuffer>) => {
      const incoming = parseMessage(message.data);
      if (incoming === undefined) return;
      if (incoming.channel !== 'control') return events.onOutput(incoming.channel, incoming.bytes);
      if ('begun' in incoming.control) return events.onBegin?.();
      const ending = endingOf(incoming.control);
      if (ending !== undefined) this.#end(events, ending);
    };
    socket.onclose = (event) => this.#end(events, { closed: event.reason });
  }

  #end(events: SessionEvents, ending: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    events.onEnd(ending);
  }

  send(bytes: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    if (socket.readyState === WebSocket.CONNECTING && this.#earlyBytes + bytes.length <= MAX_EARLY_BYTES) {
      this.#early.push(bytes);
      this.#earlyBytes += bytes.length;
    }
    if (socket.readyState !== WebSocket.OPEN) return;
    for (const message of stdinMessages(bytes)) socket.send(message as Uint8Array<ArrayBuffer>);
  }
  control(control: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(controlMessage(control) as Uint8Array<ArrayBuffer>);
  }
  close(): void {
    this.#ended = true;
    this.#socket?.close(1000);
  }
}

/** A browser cannot give a WebSocket an Authorization header; what it can give is the name of a protocol, and base64url is always one. */
export function subprotocols(key: string): string[] {
  if (key === '') return [];
  const text = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  return ['bailiff', `bailiff.key.${text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`];
}
