// Messages of the WebSockets beside a job (docs/api.md, "Beside a running job"): binary, the first byte is the channel.

export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, control: 3 } as const;
/** The most that a client may put into one message. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

export type Ending = { exit_code: number } | { signal: number } | { error: string } | { closed: string };

export function stdinMessages(bytes: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += MAX_MESSAGE_BYTES - 1)
    messages.push(withChannel(CHANNEL.stdin, bytes.subarray(start, start + MAX_MESSAGE_BYTES - 1)));
  return messages;
}

export const controlMessage = (control: object): Uint8Array => withChannel(CHANNEL.control, new TextEncoder().encode(JSON.stringify(control)));

function withChannel(channel: number, bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(bytes.length + 1);
  message[0] = channel;
  message.set(bytes, 1);
  return message;
}

export type Incoming = { channel: 'stdout' | 'stderr'; bytes: Uint8Array } | { channel: 'control'; control: Record<string, unknown> };

/** Nothing for a message that no server of ours sends. */
export function parseMessage(data: ArrayBuffer): Incoming | undefined {
  const message = new Uint8Array(data);
  const bytes = message.subarray(1);
  if (message[0] === CHANNEL.stdout) return { channel: 'stdout', bytes };
  if (message[0] === CHANNEL.stderr) return { channel: 'stderr', bytes };
  if (message[0] !== CHANNEL.control) return undefined;
  try {
    const control: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof control === 'object' && control !== null ? { channel: 'control', control: control as Record<string, unknown> } : undefined;
  } catch {
    return undefined;
  }
}

export function endingOf(control: Record<string, unknown>): Ending | undefined {
  if (typeof control['exit_code'] === 'number') return { exit_code: control['exit_code'] };
  if (typeof control['signal'] === 'number') return { signal: control['signal'] };
  if (typeof control['verdict'] === 'string') return { closed: control['verdict'].replaceAll('_', ' ') };
  if (typeof control['error'] === 'string') return { error: control['error'] };
  return undefined;
}
