// The right side of the playground: output as it comes, then the verdict and what it cost.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { Log } from '../ansi/log';
import { download } from '../api/client';
import type { Job, Limits, System } from '../api/types';
import { PartBars, StateBadge, VerdictBox } from '../ui/figures';
import { Icon } from '../ui/icon';
import { Failure, Loading } from '../ui/states';
import { decisivePart } from '../verdict';
import type { LogName, Run } from './run';

const Terminal = lazy(() => import('../terminal/terminal').then((module) => module.Terminal));

export interface RunViewProps {
  run: Run;
  id: string | undefined;
  starting: boolean;
  interactive: boolean;
  limits: Limits;
  system?: System | undefined;
}

export function RunView({ run, id, starting, interactive, limits }: RunViewProps): JSX.Element {
  if (run.error !== undefined) return <Failure error={run.error} />;
  if (id === undefined)
    return (
      <div class="card empty">
        <span class="mark"><Icon name="play" size={48} /></span>
        <h2>{starting ? 'Starting …' : 'Ready when you are'}</h2>
        {!starting && <p class="muted">The program is set up: press <strong>Run</strong>, and what it prints appears here while it runs. Nothing that it does leaves its sandbox.</p>}
      </div>
    );
  const { job } = run;
  if (job === undefined) return <div class="card"><Loading what="the job" /></div>;
  const finished = job.state === 'finished';
  return (
    <div class="card" data-job={id} data-source={run.source}>
      <div class="head">
        <span class="row"><StateBadge job={job} />{!finished && run.step !== undefined && <span class="muted small">{run.step.name}</span>}</span>
        <Share id={id} />
      </div>
      <div class="body">
        <div role="status" aria-live="polite">{finished && job.verdict !== null && <VerdictBox verdict={job.verdict} message={job.message} part={decisivePart(job)} limits={limits} />}</div>
        {finished && <Cost job={job} limits={limits} />}
        {interactive && <InteractiveTerminal job={job} />}
        {(!interactive || finished) && <Logs run={run} job={job} />}
      </div>
    </div>
  );
}

function InteractiveTerminal({ job }: { job: Job }): JSX.Element | null {
  if (job.state === 'queued') return <p class="muted">It waits for its turn; the terminal opens then.</p>;
  if (job.state === 'finished') return null;
  return (
    <Suspense fallback={<Loading what="the terminal" />}>
      <Terminal key={job.id} name="Program" begins path={(rows, cols) => `/v1/jobs/${job.id}/attach?rows=${rows}&cols=${cols}`} />
    </Suspense>
  );
}

function Cost({ job, limits }: { job: Job; limits: Limits }): JSX.Element | null {
  const part = decisivePart(job);
  if (part === undefined) return null;
  const known = part.name === 'compile' ? {} : limits;
  return <PartBars part={part} limits={known} />;
}

/** Those that have something, and always the program's own output. */
function Logs({ run, job }: { run: Run; job: Job }): JSX.Element {
  const ended = job.state === 'finished';
  const current = run.step?.index ?? Math.max(0, job.steps.length - 1);
  const main: LogName = `steps/${current}/stdout`;
  const failedBeforeRun = ended && job.verdict === 'compile_error';
  const names: LogName[] = failedBeforeRun || run.names.includes(main) ? run.names : [main, ...run.names];
  return (
    <>
      {[...names].sort(later).map((name) => {
        const [kind, index, stream] = name.split('/') as ['steps' | 'tests', string, 'stdout' | 'stderr'];
        const part = job[kind][Number(index)];
        const step = part?.name ?? (run.step?.index === Number(index) ? run.step.name : '');
        const label = stream === 'stdout' ? 'Output' : 'Errors';
        return (
          <Log key={`${job.id}/${name}`} name={step === '' || step === 'run' ? label : `${label} of ${step}`} source={run.log(name)} live={!ended}
            truncated={part?.[`${stream}_truncated`] === true} onDownload={() => download(`/v1/jobs/${job.id}/${name}`, `${job.id}-${step}-${stream}.txt`)} />
        );
      })}
    </>
  );
}

/** Later steps first: what the program printed stands above what its compiler did. stdout before stderr. */
function later(a: LogName, b: LogName): number {
  const [, ai, as] = a.split('/') as [string, string, string];
  const [, bi, bs] = b.split('/') as [string, string, string];
  return Number(bi) - Number(ai) || (as === bs ? 0 : as === 'stdout' ? -1 : 1);
}

export function Share({ id, here = false }: { id: string; here?: boolean }): JSX.Element {
  const [copied, setCopied] = useState(false);
  const path = `/jobs/${id}`;
  const copy = (): void => {
    void navigator.clipboard?.writeText(location.origin + path).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 2_000);
    }, () => undefined); // refused by the browser: the address is in its bar
  };
  return (
    <span class="row">
      {!here && <a href={path}>Job page</a>}
      {navigator.clipboard !== undefined && <button type="button" class="plain" onClick={copy}>{copied ? 'Copied' : 'Copy link'}</button>}
    </span>
  );
}
