// API keys, for who may see them: what each may, making one, revoking one.
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { apiKey, type ApiError, call, json } from '../api/client';
import type { ApiKey, Page } from '../api/types';
import { bytes, count, duration } from '../format';
import { usePoll } from '../ui/poll';
import { Failure } from '../ui/states';

const MAX_SHOWN_KEYS = 100;
const SCOPES = ['submit', 'read', 'admin'] as const;

export function Keys(): JSX.Element | null {
  const { value, refresh } = usePoll<Page<ApiKey>>('/v1/keys', 0);
  const [error, setError] = useState<ApiError>();
  const [made, setMade] = useState<string>();
  if (value === undefined) return null;
  const attempt = (work: Promise<unknown>): void => {
    setError(undefined);
    work.then(refresh, (problem: ApiError) => setError(problem));
  };
  const create = (event: Event): void => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const fields = new FormData(form);
    const wish = { name: String(fields.get('name')).trim(), scopes: SCOPES.filter((scope) => fields.get(scope) !== null), weight: Number(fields.get('weight')) };
    attempt(
      json<ApiKey & { key: string }>('/v1/keys', { method: 'POST', body: wish }).then((key) => {
        setMade(key.key);
        if (value.items.length === 0) apiKey.set(key.key); // from now on this server asks for one
        form.reset();
      }),
    );
  };
  const revoke = (key: ApiKey): void => attempt(call(`/v1/keys/${key.id}`, { method: 'DELETE' }));
  return (
    <section class="card" aria-label="API keys">
      <div class="head"><h2>API keys</h2><span class="muted small">{count(value.items.length, 'key')}</span></div>
      <div class="body">
        {error !== undefined && <Failure error={error} />}
        {value.items.length === 0 ? <p class="muted small">There are none: everybody who reaches this server may do everything. The first key needs the scope admin; from then on every call needs a key.</p> : <KeyTable keys={value.items} revoke={revoke} />}
        {made !== undefined && (
          <p role="status">
            The new key, told this once: <code class="break">{made}</code>{' '}
            <button type="button" onClick={() => void navigator.clipboard?.writeText(made)}>Copy</button>{' '}
            <button type="button" onClick={() => setMade(undefined)}>Hide</button>
          </p>
        )}
        <form class="row" onSubmit={create} aria-label="New key">
          <label>Name <input name="name" required maxLength={256} autocomplete="off" /></label>
          <fieldset class="row plain">
            <legend class="unseen">Scopes</legend>
            {SCOPES.map((scope) => (
              <label key={scope}><input type="checkbox" name={scope} defaultChecked={value.items.length === 0 ? scope === 'admin' : scope !== 'admin'} /> {scope}</label>
            ))}
          </fieldset>
          <label>Weight <input name="weight" type="number" min={1} max={1000} defaultValue="1" /></label>
          <button type="submit">Make a key</button>
        </form>
      </div>
    </section>
  );
}

const ofBound = (use: number, most: number | null, text: (value: number) => string): string =>
  most === null ? text(use) : `${text(use)} of ${text(most)}`;

function KeyTable({ keys, revoke }: { keys: ApiKey[]; revoke: (key: ApiKey) => void }): JSX.Element {
  const [asked, setAsked] = useState(''); // the id of a key whose end wants a second word
  const button = (key: ApiKey): JSX.Element =>
    asked === key.id ? (
      <button type="button" onClick={() => (setAsked(''), revoke(key))}>Revoke {key.name} for good</button>
    ) : (
      <button type="button" aria-label={`Revoke ${key.name}`} onClick={() => setAsked(key.id)}>Revoke</button>
    );
  return (
    <table class="stacking">
        <thead><tr><th>Name</th><th>Id</th><th>Scopes</th><th>Weight</th><th>Queued</th><th>Running</th><th>Stored</th><th>CPU this hour</th><th>Made</th><th><span class="unseen">Actions</span></th></tr></thead>
        <tbody>
          {keys.slice(0, MAX_SHOWN_KEYS).map((key) => (
            <tr key={key.id} class={key.revoked_at === null ? '' : 'muted'}>
              <td data-name="Name">{key.name}</td>
              <td data-name="Id"><code>{key.id}</code></td>
              <td data-name="Scopes">{key.scopes.join(', ')}</td>
              <td data-name="Weight">{key.weight}</td>
              <td data-name="Queued">{key.max_queued_jobs ?? 'any'}</td>
              <td data-name="Running">{key.max_running_jobs ?? 'any'}</td>
              <td data-name="Stored">{ofBound(key.stored_bytes, key.max_stored_bytes, bytes)}</td>
              <td data-name="CPU this hour">{ofBound(key.cpu_ms_this_hour, key.max_cpu_ms_per_hour, duration)}</td>
              <td data-name="Made">{new Date(key.created_at).toLocaleDateString()}</td>
              <td>{key.revoked_at === null ? button(key) : 'revoked'}</td>
            </tr>
          ))}
        </tbody>
    </table>
  );
}
