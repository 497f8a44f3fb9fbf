// One job: what it was asked, what happened, what it looks like from the kernel's side, and what can be done with it.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Log } from '../ansi/log';
import { act, call, createJob, deleteJob, download, json } from '../api/client';
import type { Artifact, Job, JobRequest, Limits, Step, TestResult } from '../api/types';
import { ago, bytes, clock, duration, signalName } from '../format';
import { limitsOf } from '../limits';
import { go } from '../route';
import { PartBars, StateBadge, VerdictBadge, VerdictBox } from '../ui/figures';
import { useNow } from '../ui/poll';
import { Empty, Failure, Loading } from '../ui/states';
import { decisivePart, present } from '../verdict';
import { ApiError } from '../api/client';
import { type Catalogue, useCatalogue } from './catalogue';
import { Kernel } from './namespaces';
import { type LogName, type Run, useRun } from './run';
import { Share } from './run_view';
import { UsageCard } from './usage';

const Terminal = lazy(() => import('../terminal/terminal').then((module) => module.Terminal));

export function JobPage({ id }: { id: string }): JSX.Element {
  const run = useRun(id);
  const catalogue = useCatalogue();
  const [request, setRequest] = useState<JobRequest>();
  useEffect(() => {
    json<JobRequest>(`/v1/jobs/${encodeURIComponent(id)}/request`).then(setRequest, () => undefined);
  }, [id]);
  const { job, error } = run;
  if (error instanceof ApiError && error.status === 404)
    return (
      <Empty page title="There is no such job">
        <p class="muted">It was never here, or it was forgotten since.</p>
        <a class="button" href="/jobs">All jobs</a>
      </Empty>
    );
  if (error !== undefined) return <Failure error={error} retry={() => location.reload()} />;
  if (job === undefined) return <div class="card"><Loading what="the job" /></div>;
  return <Loaded run={run} job={job} request={request} catalogue={catalogue} />;
}

interface LoadedProps {
  run: Run;
  job: Job;
  request: JobRequest | undefined;
  catalogue: Catalogue;
}

function Loaded({ run, job, request, catalogue }: LoadedProps): JSX.Element {
  const language = catalogue.languages?.find((one) => one.name === job.language);
  const limits = (kind: 'steps' | 'tests', index: number): Limits => limitsOf(kind, index, job, request, language, catalogue.system);
  const decisive = decisivePart(job);
  const kind = decisive !== undefined && job.tests.includes(decisive as TestResult) ? 'tests' : 'steps';
  const index = decisive === undefined ? 0 : Math.max(0, job[kind].indexOf(decisive as TestResult));
  const running = job.state === 'running';
  return (
    <>
      <div class="page-head">
        <div>
          <p class="small"><a href="/jobs">Jobs</a></p>
          <h1 class="row"><span class="mono break">{job.id}</span> <StateBadge job={job} /></h1>
        </div>
        <Actions job={job} request={request} />
      </div>
      {job.verdict !== null && <VerdictBox verdict={job.verdict} message={job.message} part={decisive} limits={limits(kind, index)} />}
      <div class="columns">
        <div class="stack">
          {job.state === 'queued' && <div class="notice" role="status">It waits for a free slot.</div>}
          <Steps run={run} job={job} limits={limits} />
          {job.tests.length > 0 && <Tests run={run} job={job} request={request} />}
          {running && hasTerminal(request) && <ProgramCard job={job} />}
          {running && <ShellCard job={job} />}
          <UsageCard job={job} running={run.step} />
          <Kernel job={job} />
        </div>
        <aside class="stack" aria-label="About this job">
          <Facts job={job} version={language?.version ?? null} />
          <Artifacts job={job} />
          {request !== undefined && <RequestCard request={request} />}
        </aside>
      </div>
    </>
  );
}

function Actions({ job, request }: { job: Job; request: JobRequest | undefined }): JSX.Element {
  const [error, setError] = useState<unknown>();
  const guard = (work: Promise<unknown>): void => {
    setError(undefined);
    work.catch(setError);
  };
  const rerun = (): void => {
    if (request !== undefined) guard(createJob(request).then((next) => go(`/jobs/${next.id}`)));
  };
  const [asked, setAsked] = useState(false); // a job that is gone does not come back: it takes a second word
  const forget = (): void => guard(deleteJob(job.id).then(() => go('/jobs')));
  const running = job.state === 'running';
  return (
    <div class="row" role="group" aria-label="Actions">
      {running && job.paused !== true && <button type="button" onClick={() => guard(act(job.id, 'pause'))}>Pause</button>}
      {running && job.paused === true && <button type="button" onClick={() => guard(act(job.id, 'resume'))}>Resume</button>}
      {job.state !== 'finished' && <button type="button" class="danger" onClick={() => guard(act(job.id, 'cancel'))}>Cancel</button>}
      {request !== undefined && <button type="button" onClick={rerun}>Run again</button>}
      {request?.language !== undefined && request.tests === undefined && <a class="button" href={`/?from=${encodeURIComponent(job.id)}`}>Open in the playground</a>}
      <Share id={job.id} here />
      {job.state === 'finished' && !asked && <button type="button" onClick={() => setAsked(true)}>Delete</button>}
      {job.state === 'finished' && asked && <button type="button" class="danger" onClick={forget}>Delete for good</button>}
      {error !== undefined && <Failure error={error} />}
    </div>
  );
}

function Facts({ job, version }: { job: Job; version: string | null }): JSX.Element {
  const now = useNow(5_000);
  return (
    <section class="card" aria-label="Facts">
      <div class="body">
        <dl class="facts">
          <dt>Language</dt><dd>{job.language ?? '–'}{version !== null && <span class="muted small"> · {version}</span>}</dd>
          <dt>Image</dt><dd>{job.image ?? '–'}{job.image_digest !== null && <div class="mono muted small break">{job.image_digest}</div>}</dd>
          <dt>Created</dt><dd title={job.created_at}>{clock(job.created_at)} <span class="muted small">({ago(job.created_at, now)})</span></dd>
          {job.started_at !== null && <><dt>Waited</dt><dd>{duration(Math.max(0, Date.parse(job.started_at) - Date.parse(job.created_at)))}</dd></>}
          {job.started_at !== null && job.finished_at !== null && <><dt>Took</dt><dd>{duration(Math.max(0, Date.parse(job.finished_at) - Date.parse(job.started_at)))}</dd></>}
          <dt>Attempt</dt><dd>{job.attempt}</dd>
          <dt>Priority</dt><dd>{job.priority}</dd>
          {job.score !== null && <><dt>Score</dt><dd>{job.score}</dd></>}
          {Object.keys(job.labels).length > 0 && <><dt>Labels</dt><dd class="labels">{Object.entries(job.labels).map(([key, value]) => <span class="label" key={key}>{key}:{value}</span>)}</dd></>}
        </dl>
      </div>
    </section>
  );
}

function Steps({ run, job, limits }: { run: Run; job: Job; limits(kind: 'steps', index: number): Limits }): JSX.Element {
  const live = new Set(run.names.filter((name) => name.startsWith('steps/')).map((name) => Number(name.split('/')[1])));
  const total = Math.max(job.steps.length, ...[...live].map((index) => index + 1), run.step === undefined ? 0 : run.step.index + 1, 0);
  if (total === 0) return job.state === 'running' ? <div class="card"><Loading what="the first step" /></div> : <></>;
  return (
    <>
      {Array.from({ length: total }, (_unused, index) => (
        <StepCard key={index} run={run} job={job} index={index} step={job.steps[index]} limits={limits('steps', index)} />
      ))}
    </>
  );
}

function StepCard({ run, job, index, step, limits }: { run: Run; job: Job; index: number; step: Step | undefined; limits: Limits }): JSX.Element {
  const name = step?.name ?? (run.step?.index === index ? run.step.name : `Step ${index + 1}`);
  const streams = (['stdout', 'stderr'] as const).filter((stream) => stream === 'stdout' || run.names.includes(`steps/${index}/stderr`));
  return (
    <section class="card" aria-label={`Step ${name}`} data-step={index}>
      <div class="head">
        <h2>{name}</h2>
        <span class="row">
          {step === undefined ? <span class={`badge${job.state === 'running' ? ' active' : ''}`}>{job.state === 'running' ? 'Running' : '–'}</span> : <VerdictBadge verdict={step.verdict} />}
          {step !== undefined && <span class="muted small">{ending(step)}</span>}
        </span>
      </div>
      <div class="body">
        {step !== undefined && <PartBars part={step} limits={limits} />}
        {streams.map((stream) => (
          <Log key={stream} name={stream} source={run.log(`steps/${index}/${stream}` as LogName)} live={job.state !== 'finished'} truncated={step?.[`${stream}_truncated`] === true}
            onDownload={() => download(`/v1/jobs/${job.id}/steps/${index}/${stream}`, `${job.id}-${name}-${stream}.txt`)} />
        ))}
        {step !== undefined && <Evidence step={step} />}
      </div>
    </section>
  );
}

function ending(part: Step): string {
  if (part.signal !== null && part.signal !== undefined) return signalName(part.signal);
  return part.exit_code === null || part.exit_code === undefined ? '' : `exit code ${part.exit_code}`;
}

function figure(key: string, value: unknown): string {
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value);
  if (key.endsWith('_bytes')) return bytes(value);
  if (key.endsWith('_ms')) return duration(value);
  if (key.endsWith('_us')) return duration(value / 1000);
  return value.toLocaleString('en');
}

function Evidence({ step }: { step: Step }): JSX.Element {
  const figures: [string, unknown][] = [
    ['cpu_user_ms', step.cpu_user_ms], ['cpu_system_ms', step.cpu_system_ms], ['processes_peak', step.processes_peak], ...Object.entries(step.evidence ?? {}),
  ];
  return (
    <details>
      <summary class="small">The kernel’s counters</summary>
      <dl class="facts small">
        {figures.filter(([, value]) => value !== undefined && value !== null).map(([key, value]) => [<dt key={key}>{key}</dt>, <dd key={`${key}=`}>{figure(key, value)}</dd>])}
      </dl>
    </details>
  );
}

function Tests({ run, job, request }: { run: Run; job: Job; request: JobRequest | undefined }): JSX.Element {
  const [open, setOpen] = useState<number>();
  useEffect(() => {
    if (open !== undefined) run.readTest(open);
  }, [open, job.state]);
  const accepted = present(job.tests).filter((test) => test.verdict === 'accepted').length;
  return (
    <section class="card" aria-label="Tests">
      <div class="head"><h2>Tests</h2><span class="muted small">{accepted} of {request?.tests?.length ?? job.tests.length} accepted</span></div>
      <div class="flush">
        <table class="stacking">
          <thead><tr><th>Test</th><th>Verdict</th><th class="number">CPU</th><th class="number">Wall</th><th class="number">Memory</th><th class="number">Points</th><th><span class="unseen">Details</span></th></tr></thead>
          <tbody>
            {(job.tests as (TestResult | undefined)[]).map((test, index) => test !== undefined && [
              <tr key={index}>
                <td data-name="Test" class="break">{test.name}</td>
                <td data-name="Verdict"><VerdictBadge verdict={test.verdict} /></td>
                <td data-name="CPU" class="number">{duration(test.cpu_time_ms)}</td>
                <td data-name="Wall" class="number">{duration(test.wall_time_ms)}</td>
                <td data-name="Memory" class="number">{bytes(test.memory_peak_bytes)}</td>
                <td data-name="Points" class="number">{test.points}</td>
                <td data-name=""><button type="button" class="plain" aria-expanded={open === index} onClick={() => setOpen(open === index ? undefined : index)}>{open === index ? 'Hide' : 'Show'}<span class="unseen"> test {test.name}</span></button></td>
              </tr>,
              open === index && (
                <tr key={`${index}+`}>
                  <td colSpan={7} class="wide">
                    <div class="stack-tight">
                      {test.checker_message !== null && test.checker_message !== undefined && <p class="break">{test.checker_message}</p>}
                      <Log name={`stdout of ${test.name}`} source={run.log(`tests/${index}/stdout`)} truncated={test.stdout_truncated === true} />
                      {run.names.includes(`tests/${index}/stderr`) && <Log name={`stderr of ${test.name}`} source={run.log(`tests/${index}/stderr`)} />}
                      <Evidence step={test} />
                    </div>
                  </td>
                </tr>
              ),
            ])}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Artifacts({ job }: { job: Job }): JSX.Element | null {
  const [listed, setListed] = useState<Artifact[]>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    if (job.state !== 'finished' || job.artifacts.length > 0) return;
    call(`/v1/jobs/${job.id}/artifacts`).then(async (answer) => setListed(((await answer.json()) as { items: Artifact[] }).items), () => undefined);
  }, [job.id, job.state]);
  const items = job.artifacts.length > 0 ? job.artifacts : (listed ?? []);
  if (items.length === 0) return null;
  const address = (path: string): string => `/v1/jobs/${job.id}/artifacts/${path.split('/').map(encodeURIComponent).join('/')}`;
  const save = (path: string, name: string): void => {
    setError(undefined);
    download(path, name).catch(setError);
  };
  return (
    <section class="card" aria-label="Artifacts">
      <div class="head"><h2>Artifacts</h2><button type="button" onClick={() => save(`/v1/jobs/${job.id}/artifacts?format=tar`, `${job.id}.tar`)}>All as tar</button></div>
      <div class="body">
        {error !== undefined && <Failure error={error} />}
        <ul class="stack-tight">
          {items.map((item) => (
            <li key={item.path} class="row spread">
              <button type="button" class="plain break" onClick={() => save(address(item.path), item.path.split('/').pop() ?? 'artifact')}>{item.path}</button>
              <span class="muted small">{bytes(item.bytes)}</span>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}

const MAX_SHOWN_REQUEST = 20_000;

function RequestCard({ request }: { request: JobRequest }): JSX.Element {
  const source = typeof request.source === 'string' ? request.source : undefined;
  const rest = JSON.stringify({ ...request, source: source === undefined ? request.source : undefined }, null, 2);
  return (
    <section class="card" aria-label="Request">
      <details>
        <summary>What was asked</summary>
        <div class="body">
          {source !== undefined && <pre class="source" tabIndex={0}>{cut(source)}</pre>}
          <pre class="source" tabIndex={0}>{cut(rest)}</pre>
        </div>
      </details>
    </section>
  );
}

const cut = (text: string): string => (text.length > MAX_SHOWN_REQUEST ? `${text.slice(0, MAX_SHOWN_REQUEST)} …` : text);

const hasTerminal = (request: JobRequest | undefined): boolean => typeof request?.interactive === 'object' && request.interactive.tty;

/** One client at a time: nobody is pushed out by a page that is only looked at. */
function ProgramCard({ job }: { job: Job }): JSX.Element {
  const [session, setSession] = useState(0);
  return (
    <section class="card" aria-label="Program">
      <div class="head">
        <h2>Program</h2>
        <button type="button" onClick={() => setSession((n) => n + 1)}>{session === 0 ? 'Type to the program' : 'Again'}</button>
      </div>
      <div class="body">
        <p class="hint">It is interactive: it has a terminal, and waits for what is typed there.</p>
        {session > 0 && (
          <Suspense fallback={<Loading what="the terminal" />}>
            <Terminal key={session} name="Program" begins path={(rows, cols) => `/v1/jobs/${job.id}/attach?rows=${rows}&cols=${cols}`} />
          </Suspense>
        )}
      </div>
    </section>
  );
}

function ShellCard({ job }: { job: Job }): JSX.Element {
  const [session, setSession] = useState(0);
  const path = (rows: number, cols: number): string => {
    const query = new URLSearchParams({ tty: 'true', rows: String(rows), cols: String(cols) });
    query.append('command', 'sh');
    query.append('env', 'TERM=xterm-256color');
    return `/v1/jobs/${job.id}/exec?${query.toString()}`;
  };
  return (
    <section class="card" aria-label="Shell">
      <div class="head">
        <h2>Shell</h2>
        <span class="row">
          {session > 0 && <button type="button" onClick={() => setSession(0)}>Close</button>}
          <button type="button" onClick={() => setSession((n) => n + 1)}>{session === 0 ? 'Open a shell beside the program' : 'Again'}</button>
        </span>
      </div>
      <div class="body">
        <p class="hint">It runs in the program’s sandbox, with its user and its limits: what it uses counts as the program’s.</p>
        {session > 0 && (
          <Suspense fallback={<Loading what="the terminal" />}>
            <Terminal key={session} name="Shell" path={path} />
          </Suspense>
        )}
      </div>
    </section>
  );
}
