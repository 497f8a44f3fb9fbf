// All jobs, newest first, as they come and end.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { createJob, json } from '../api/client';
import { type Job, type JobState, type Page, type Verdict, VERDICTS } from '../api/types';
import { ago, clock, duration, shortId } from '../format';
import { go } from '../route';
import { StateBadge } from '../ui/figures';
import { useNow, usePoll } from '../ui/poll';
import { Empty, Failure, Loading } from '../ui/states';
import { verdictTitle } from '../verdict';
import { allLanguages } from './catalogue';
import { sampleOf } from './samples';

const PAGE_LENGTH = 50;
const REFRESH_MS = 2_000;
const STATES: readonly JobState[] = ['queued', 'running', 'finished'];

interface Filter {
  state: string;
  verdict: string;
  search: string;
}

const NO_FILTER: Filter = { state: '', verdict: '', search: '' };

/** key:value in the search asks the server; other words look through what is shown. */
function parseSearch(search: string): { labels: string[]; texts: string[] } {
  const parts = search.trim().split(/\s+/).filter((word) => word !== '');
  return { labels: parts.filter((word) => /^[^:]+:./.test(word)), texts: parts.filter((word) => !/^[^:]+:./.test(word)).map((word) => word.toLowerCase()) };
}

function queryOf(filter: Filter): string {
  const query = new URLSearchParams({ limit: String(PAGE_LENGTH) });
  if (filter.state !== '') query.set('state', filter.state);
  if (filter.verdict !== '') query.set('verdict', filter.verdict);
  for (const label of parseSearch(filter.search).labels) query.append('label', label);
  return `/v1/jobs?${query.toString()}`;
}

const holds = (job: Job, text: string): boolean =>
  [job.id, job.language ?? '', job.image ?? '', job.message ?? '', ...Object.entries(job.labels).flat()].some((one) => one.toLowerCase().includes(text));

function readFilter(): Filter {
  const query = new URLSearchParams(location.search);
  return { state: query.get('state') ?? '', verdict: query.get('verdict') ?? '', search: query.get('search') ?? '' };
}

function keepFilter(filter: Filter): void {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== '')).toString();
  history.replaceState(null, '', query === '' ? '/jobs' : `/jobs?${query}`);
}

export function JobsPage(): JSX.Element {
  const [filter, setFilter] = useState(readFilter);
  const path = queryOf(filter);
  const { value, error, refresh } = usePoll<Page<Job>>(path, REFRESH_MS);
  const [older, setOlder] = useState<{ items: Job[]; next: string | null }>();
  const [moreError, setMoreError] = useState<unknown>();
  useEffect(() => (setOlder(undefined), setMoreError(undefined)), [path]);
  const change = (part: Partial<Filter>): void => {
    const next = { ...filter, ...part };
    keepFilter(next);
    setFilter(next);
  };
  const items = merged(value?.items ?? [], older?.items ?? []);
  const texts = parseSearch(filter.search).texts;
  const shown = items.filter((job) => texts.every((text) => holds(job, text)));
  const next = older === undefined ? value?.next_cursor : older.next;
  const more = async (): Promise<void> => {
    setMoreError(undefined);
    try {
      const page = await json<Page<Job>>(`${path}&cursor=${encodeURIComponent(next ?? '')}`);
      setOlder({ items: [...items, ...page.items], next: page.next_cursor });
    } catch (problem) {
      setMoreError(problem);
    }
  };
  const filtered = filter.state !== '' || filter.verdict !== '' || filter.search !== '';
  return (
    <>
      <div class="page-head">
        <h1>Jobs</h1>
        <Filters filter={filter} change={change} />
      </div>
      {error !== undefined && <Failure error={error} retry={refresh} />}
      {value === undefined && error === undefined && <div class="card"><Loading what="jobs" /></div>}
      {value !== undefined && shown.length === 0 && (
        <div class="card">{filtered ? <NothingFound clear={() => change(NO_FILTER)} /> : <FirstVisit />}</div>
      )}
      {shown.length > 0 && <JobTable jobs={shown} />}
      {moreError !== undefined && <Failure error={moreError} />}
      {next !== null && next !== undefined && <div class="row"><button type="button" onClick={() => void more()}>Older jobs</button></div>}
    </>
  );
}

/** The newest page is read again and again; of what was read before, the newer state of a job wins. */
function merged(fresh: Job[], known: Job[]): Job[] {
  const seen = new Set(fresh.map((job) => job.id));
  return [...fresh, ...known.filter((job) => !seen.has(job.id))];
}

function Filters({ filter, change }: { filter: Filter; change(part: Partial<Filter>): void }): JSX.Element {
  return (
    <form class="row end" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="stacked">
        State
        <select value={filter.state} onChange={(event) => change({ state: event.currentTarget.value })}>
          <option value="">Any</option>
          {STATES.map((state) => <option key={state} value={state}>{state}</option>)}
        </select>
      </label>
      <label class="stacked">
        Verdict
        <select value={filter.verdict} onChange={(event) => change({ verdict: event.currentTarget.value })}>
          <option value="">Any</option>
          {VERDICTS.map((verdict: Verdict) => <option key={verdict} value={verdict}>{verdictTitle(verdict)}</option>)}
        </select>
      </label>
      <label class="stacked">
        Search
        <input type="search" value={filter.search} placeholder="id, language, label:value" onInput={(event) => change({ search: event.currentTarget.value })} />
      </label>
    </form>
  );
}

function NothingFound({ clear }: { clear(): void }): JSX.Element {
  return (
    <Empty title="No job fits">
      <button type="button" onClick={clear}>Show all jobs</button>
    </Empty>
  );
}

/** A server on which nothing was ever run. One click, and something was. */
function FirstVisit(): JSX.Element {
  const [error, setError] = useState<unknown>();
  const start = async (): Promise<void> => {
    try {
      const languages = await allLanguages();
      const language = languages.find((one) => one.name === 'python') ?? languages[0];
      if (language === undefined) throw new Error('This server offers no language.');
      const job = await createJob({ language: language.name, source: sampleOf(language), stdin: 'world\n', labels: { from: 'first-visit' } });
      go(`/jobs/${job.id}`);
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <Empty title="Nothing has run here yet">
      <p class="muted">Jobs appear here as they come, from these pages or from the API.</p>
      <div class="row">
        <button type="button" class="primary" onClick={() => void start()}>Run an example</button>
        <a class="button" href="/">Write a program</a>
      </div>
      {error !== undefined && <Failure error={error} />}
    </Empty>
  );
}

function JobTable({ jobs }: { jobs: Job[] }): JSX.Element {
  const now = useNow(1_000);
  return (
    <div class="card">
      <div class="flush">
        <table class="jobs-table stacking">
          <thead>
            <tr><th>State</th><th>Job</th><th>Program</th><th>Labels</th><th class="number">CPU</th><th class="number">Took</th><th>Created</th></tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job.id}>
                <td data-name="State"><StateBadge job={job} /></td>
                <td data-name="Job"><a class="mono" href={`/jobs/${job.id}`} title={job.id}>{shortId(job.id)}</a></td>
                <td data-name="Program" class="break"><span>{job.language ?? job.image}{job.tests.length > 0 && <span class="muted small"> · {job.tests.filter((test) => test.verdict === 'accepted').length} of {job.tests.length} tests</span>}</span></td>
                <td data-name="Labels" class={Object.keys(job.labels).length === 0 ? 'none' : ''}><span class="labels">{Object.entries(job.labels).map(([key, value]) => <span class="label" key={key}>{key}:{value}</span>)}</span></td>
                <td data-name="CPU" class="number">{job.steps.length + job.tests.length > 0 ? duration([...job.steps, ...job.tests].reduce((sum, part) => sum + part.cpu_time_ms, 0)) : '–'}</td>
                <td data-name="Took" class="number">{took(job, now)}</td>
                <td data-name="Created" class="muted" title={clock(job.created_at)}>{ago(job.created_at, now)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function took(job: Job, now: number): string {
  if (job.started_at === null) return '–';
  const end = job.finished_at === null ? now : Date.parse(job.finished_at);
  const ms = Math.max(0, end - Date.parse(job.started_at));
  return job.finished_at === null ? duration(Math.round(ms / 1000) * 1000) : duration(ms);
}
