// One WebSocket beside a job: a command in its sandbox (exec), or the program's own streams (attach).
import { apiKey } from '../api/client';
import { controlMessage, type Ending, endingOf, parseMessage, stdinMessages } from '../api/channel';

export interface SessionEvents {
  onOpen(): void;
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  onEnd(ending: Ending): void;
}

export class Session {
  #socket: WebSocket;
  #ended = false;

  constructor(path: string, events: SessionEvents) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#socket = new WebSocket(url, subprotocols());
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => events.onOpen();
    this.#socket.onmessage = (message: MessageEvent<ArrayBuffer>) => {
      const incoming = parseMessage(message.data);
      if (incoming === undefined) return;
      if (incoming.channel !== 'control') return events.onOutput(incoming.channel, incoming.bytes);
      const ending = endingOf(incoming.control);
      if (ending !== undefined) this.#end(events, ending);
    };
    this.#socket.onclose = (event) => this.#end(events, { closed: event.reason });
  }

  #end(events: SessionEvents, ending: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    events.onEnd(ending);
  }

  send(bytes: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    for (const message of stdinMessages(bytes)) this.#socket.send(message as Uint8Array<ArrayBuffer>);
  }
  control(control: object): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(controlMessage(control) as Uint8Array<ArrayBuffer>);
  }
  close(): void {
    this.#ended = true;
    this.#socket.close(1000);
  }
}

/** A browser cannot give a WebSocket an Authorization header; what it can give is the name of a protocol. */
function subprotocols(): string[] {
  const key = apiKey.get();
  return key === '' ? [] : ['bailiff', `bailiff.key.${key}`];
}
