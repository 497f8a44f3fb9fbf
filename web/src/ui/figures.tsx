// Verdicts and figures of a part: badge, words, bars against the limits.
import type { JSX } from 'preact';
import type { Job, Limits, Part, Verdict } from '../api/types';
import { bytes, duration } from '../format';
import { explain, verdictTitle, verdictTone } from '../verdict';

export function StateBadge({ job }: { job: Pick<Job, 'state' | 'verdict' | 'paused'> }): JSX.Element {
  if (job.state === 'queued') return <span class="badge">Queued</span>;
  if (job.state === 'running') return job.paused === true ? <span class="badge limit">Paused</span> : <span class="badge active">Running</span>;
  return job.verdict === null ? <span class="badge">Finished</span> : <VerdictBadge verdict={job.verdict} />;
}

export function VerdictBadge({ verdict }: { verdict: Verdict | null }): JSX.Element {
  if (verdict === null) return <span class="badge">–</span>;
  return <span class={`badge ${verdictTone(verdict)}`}>{verdictTitle(verdict)}</span>;
}

export function VerdictBox({ verdict, message, part, limits }: { verdict: Verdict; message: string | null; part: Part | undefined; limits: Limits }): JSX.Element {
  const words = explain(verdict, part, limits);
  return (
    <div class={`verdict ${verdictTone(verdict)}`} data-verdict={verdict}>
      <strong>{verdictTitle(verdict)}</strong>
      <span>{words}</span>
      {message !== null && message !== '' && <span class="small muted break">{message}</span>}
    </div>
  );
}

export function Bar({ name, value, most, show }: { name: string; value: number; most: number | undefined; show: (n: number) => string }): JSX.Element {
  const share = most === undefined || most === 0 ? 0 : value / most;
  const text = most === undefined || most === 0 ? show(value) : `${show(value)} of ${show(most)}`;
  const width = { width: `${Math.min(100, share * 100)}%` };
  return (
    <div class="bar">
      <span class="muted">{name}</span>
      <div class="track" role="meter" aria-label={name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(Math.min(1, share) * 100)} aria-valuetext={text}>
        <div class={`fill${share >= 0.9 ? ' over' : ''}`} style={width} />
      </div>
      <span class="figure">{text}</span>
    </div>
  );
}

export function PartBars({ part, limits }: { part: Part; limits: Limits }): JSX.Element {
  return (
    <div class="stack-tight">
      <Bar name="CPU time" value={part.cpu_time_ms} most={limits['cpu_time_ms']} show={duration} />
      <Bar name="Wall time" value={part.wall_time_ms} most={limits['wall_time_ms']} show={duration} />
      <Bar name="Memory" value={part.memory_peak_bytes} most={limits['memory_bytes']} show={bytes} />
    </div>
  );
}
