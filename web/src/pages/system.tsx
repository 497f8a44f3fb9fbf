// The server: slots and what they run, the queue over time, languages and images, what the host can do, keys.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { useReducer, useState } from 'preact/hooks';
import type { Image, Language, Page, System } from '../api/types';
import { bytes, count, duration, shortId } from '../format';
import { usePoll } from '../ui/poll';
import { Failure, Loading } from '../ui/states';
import { useCatalogue } from './catalogue';
import { Keys } from './keys';

const Plot = lazy(() => import('../plot/plot').then((module) => module.Plot));
const REFRESH_MS = 2_000;
const MAX_SAMPLES = 900; // half an hour

interface Moment {
  time: number;
  queued: number;
  running: number;
}
/** Kept while the tab lives, so that going to another page and back loses nothing. */
const moments: Moment[] = [];

function remember(system: System): void {
  moments.push({ time: Date.now() / 1000, queued: system.queue.queued, running: system.queue.running });
  if (moments.length > MAX_SAMPLES) moments.shift();
}

export function SystemPage(): JSX.Element {
  const [, drawAgain] = useReducer<number, void>((n) => n + 1, 0);
  const { value: system, error, refresh } = usePoll<System>('/v1/system', REFRESH_MS, (value) => {
    remember(value);
    drawAgain(); // an answer that is the same as the last is still a moment of the plot
  });
  if (system === undefined) return error === undefined ? <div class="card"><Loading what="the system" /></div> : <Failure error={error} retry={refresh} />;
  return (
    <>
      <div class="page-head">
        <h1>System</h1>
        <span class="row">
          <span class={`badge ${system.ready ? 'good' : 'limit'}`}>{system.ready ? 'Ready' : 'Not ready'}</span>
          <span class="muted small">bailiffd {system.version}{system.host !== null && ` · ${system.host.system} ${system.host.kernel} ${system.host.machine}`} · cgroup {system.cgroup.version}, {system.cgroup.driver}</span>
        </span>
      </div>
      {error !== undefined && <Failure error={error} retry={refresh} />}
      <Figures system={system} />
      <Slots system={system} />
      <QueuePlot system={system} />
      <Languages />
      <Images />
      <Capabilities system={system} />
      <Keys />
    </>
  );
}

function Figures({ system }: { system: System }): JSX.Element {
  const busy = system.slots.filter((slot) => slot.state === 'busy').length;
  return (
    <div class="figures">
      <div class="figure-tile"><span class="muted small">Slots in use</span><b>{busy} / {system.slots.length}</b></div>
      <div class="figure-tile"><span class="muted small">Running jobs</span><b>{system.queue.running}</b></div>
      <div class="figure-tile"><span class="muted small">Queued jobs</span><b>{system.queue.queued}</b><span class="muted small">of {system.queue.bound.toLocaleString('en')} at most</span></div>
      <OldestWait />
    </div>
  );
}

/** How long the oldest queued job has waited by now: what a new one would see at worst. */
function OldestWait(): JSX.Element {
  const { value } = usePoll<Page<{ created_at: string; state: string }>>('/v1/jobs?state=queued&limit=200', REFRESH_MS);
  const oldest = value?.items[value.items.length - 1];
  const wait = oldest === undefined ? 0 : Math.max(0, Date.now() - Date.parse(oldest.created_at));
  const atLeast = value !== undefined && value.next_cursor !== null ? 'at least ' : '';
  return <div class="figure-tile"><span class="muted small">Longest wait now</span><b>{value === undefined ? '–' : wait === 0 ? 'none' : `${atLeast}${duration(Math.round(wait / 1000) * 1000)}`}</b></div>;
}

function Slots({ system }: { system: System }): JSX.Element {
  return (
    <section class="card" aria-label="Slots">
      <div class="head"><h2>Slots</h2><span class="muted small">{count(system.slots.length, 'step')} at one time</span></div>
      <div class="slots">
        {system.slots.map((slot) => (
          <div class={`slot ${slot.state}`} key={slot.index}>
            <span class="row spread"><strong>Slot {slot.index}</strong><span class="small">{slot.state}</span></span>
            {slot.job === null ? <span class="muted small">waits for a job</span> : <a class="mono small" href={`/jobs/${slot.job}`}>{shortId(slot.job)}</a>}
          </div>
        ))}
      </div>
    </section>
  );
}

function QueuePlot({ system }: { system: System }): JSX.Element {
  const times = moments.map((moment) => moment.time);
  return (
    <section class="card" aria-label="Queue over time">
      <div class="head"><h2>Queue</h2><span class="muted small">since this page was opened</span></div>
      <div class="body">
        {times.length < 2 ? (
          <p class="muted">{count(system.queue.queued, 'job')} queued. The plot begins with the next look.</p>
        ) : (
          <Suspense fallback={<Loading what="the plot" />}>
            <Plot name="Queue" times={times} clock show={(n) => (Number.isInteger(n) ? String(n) : n.toFixed(1))}
              series={[{ name: 'Queued', values: moments.map((one) => one.queued), colour: '--a11' }, { name: 'Running', values: moments.map((one) => one.running), colour: '--a12' }]} />
          </Suspense>
        )}
      </div>
    </section>
  );
}

function Languages(): JSX.Element {
  const { languages, error, retry } = useCatalogue();
  const [search, setSearch] = useState('');
  const fits = (one: Language): boolean => [one.name, one.title, ...one.aliases].some((text) => text.toLowerCase().includes(search.toLowerCase()));
  const shown = languages?.filter(fits) ?? [];
  return (
    <section class="card" aria-label="Languages">
      <div class="head">
        <h2>Languages</h2>
        <label><span class="unseen">Search languages</span><input type="search" placeholder="Search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label>
      </div>
      {languages === undefined && (error === undefined ? <Loading what="languages" /> : <Failure error={error} retry={retry} />)}
      {languages !== undefined && shown.length === 0 && <div class="body muted">{languages.length === 0 ? 'None of the languages works on this machine.' : 'No language fits.'}</div>}
      {shown.length > 0 && (
        <div class="flush">
          <table class="stacking">
            <thead><tr><th>Language</th><th>Names</th><th>Version</th><th>Image</th><th>Self-test</th></tr></thead>
            <tbody>
              {shown.map((one) => (
                <tr key={one.name}>
                  <td data-name="Language">{one.title || one.name}</td>
                  <td data-name="Names" class="mono small break">{[one.name, ...one.aliases].join(' ')}</td>
                  <td data-name="Version" class="small break">{one.version ?? '–'}</td>
                  <td data-name="Image">{one.image}</td>
                  <td data-name="Self-test"><span class="badge good" title="It is listed because its tools worked in the sandbox of this machine">works</span></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Images(): JSX.Element {
  const { value, error, refresh } = usePoll<Page<Image>>('/v1/images', 0);
  return (
    <section class="card" aria-label="Images">
      <div class="head"><h2>Images</h2></div>
      {error !== undefined && <Failure error={error} retry={refresh} />}
      {value === undefined && error === undefined && <Loading what="images" />}
      {value !== undefined && (
        <div class="flush">
          <table class="stacking">
            <thead><tr><th>Image</th><th>Digest</th><th class="number">Size</th></tr></thead>
            <tbody>
              {value.items.map((one) => {
                const size = one.bytes ?? one.disk_bytes;
                return (
                  <tr key={one.name}>
                    <td data-name="Image">{one.name}</td>
                    <td data-name="Digest" class="mono small break">{one.digest ?? '–'}</td>
                    <td data-name="Size" class="number">{typeof size === 'number' ? bytes(size) : '–'}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Capabilities({ system }: { system: System }): JSX.Element {
  const missing = system.capabilities.filter((one) => !one.present).length;
  return (
    <section class="card" aria-label="Host capabilities">
      <div class="head"><h2>Host capabilities</h2><span class="muted small">{missing === 0 ? 'all there' : `${missing} missing`}</span></div>
      <div class="flush">
        <table class="stacking capabilities">
          <thead><tr><th>Capability</th><th>State</th><th>Detail</th></tr></thead>
          <tbody>
            {[...system.capabilities].sort((a, b) => Number(a.present) - Number(b.present)).map((one) => (
              <tr key={one.name}>
                <td data-name="Capability" class="mono">{one.name}</td>
                <td data-name="State"><span class={`badge ${one.present ? 'good' : 'limit'}`}>{one.present ? 'there' : 'missing'}</span></td>
                <td data-name="Detail" class="small break">{one.detail}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** Shown to who may see them: without that right, or on a server without keys, there is no such card. */
