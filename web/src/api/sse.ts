// Server-Sent Events over fetch: unlike EventSource this can carry a key, and the position to go on from.

export interface ServerEvent {
  type: string;
  data: string;
  id: string;
}

/** Takes text as it comes and gives whole events, as the HTML standard's "event stream interpretation" has it. */
export class EventParser {
  #rest = '';
  #data: string[] = [];
  #type = '';
  #id = '';

  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) events.push({ type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id });
        this.#data = [];
        this.#type = '';
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') this.#data.push(value);
      else if (field === 'event') this.#type = value;
      else if (field === 'id') this.#id = value;
    }
    return events;
  }
}
