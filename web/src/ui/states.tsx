// What a page shows while it has nothing to show: loading, empty, an error.
import type { ComponentChildren, JSX } from 'preact';
import { ApiError } from '../api/client';
import { Icon } from './icon';

export function Loading({ what }: { what: string }): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="unseen">Loading {what}</span>
      <i />
      <i />
      <i />
    </div>
  );
}

/** `page`: there is nothing else on the page. */
export function Empty({ title, page = false, children }: { title: string; page?: boolean; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <span class="mark"><Icon name="inbox" size={56} /></span>
      {page ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** What a person can do about it comes first. */
function advice(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Something went wrong in this page.';
  if (error.unreachable) return 'The server cannot be reached. Is it running?';
  if (error.status === 401) return 'This server asks for an API key: the button with the key, at the top.';
  if (error.status === 403) return 'This key may not do that.';
  if (error.status === 429) return 'The queue is full, or a quota is used up. Try again in a moment.';
  if (error.status === 503) return 'The server is busy with starting or stopping. Try again in a moment.';
  if (error.status === 422) return 'The server does not accept this.';
  return 'The server answered with an error.';
}

export function Failure({ error, retry }: { error: unknown; retry?: (() => void) | undefined }): JSX.Element {
  const detail = error instanceof Error ? error.message : String(error);
  const places = error instanceof ApiError ? error.errors : [];
  return (
    <div class="notice error" role="alert">
      <strong>{advice(error)}</strong>
      <span class="small break">{detail}</span>
      {places.length > 0 && (
        <ul class="small">
          {places.map((place) => (
            <li key={place.pointer}>
              <code>{place.pointer || '/'}</code> {place.detail}
            </li>
          ))}
        </ul>
      )}
      {retry !== undefined && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}
